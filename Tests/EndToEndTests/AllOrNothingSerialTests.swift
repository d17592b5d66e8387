// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: natfleet contributors

import FleetModel
import TestSupport
import Testing

/// A change that fails half way: IPv4, IPv6 and the sysctls change together or not at all, from nothing and from a policy
/// that runs. `FailingProgramSerialTests` has the other ways and places.
@Suite(.enabled("needs root and namespaces") { await FleetLab.isAvailable })
struct AllOrNothingSerialTests {
    /// When the stand-in for ip6tables-restore fails, as conditions of a shell.
    enum Failing: String, CaseIterable, Sendable {
        /// Not in the rehearsal: IPv4 has changed by then.
        case inEarnest = "[[ $* == *--noflush* ]]"
        /// After table nat, and so with half of IPv6 changed as well.
        case onFilter = "[[ $* == *--noflush* && $input == *'*filter'* ]]"
    }

    @Test(arguments: Failing.allCases)
    func aFailureOfIPv6TakesIPv4Back(failing: Failing) async throws {
        try await FleetLab.run { lab in
            let controller = try await lab.startController()
            let agent = try await lab.startAgent("nat-a")
            for base in [nil, Policies.egress] {
                if let base {
                    try await lab.apply(base)
                    try await lab.converged("nat-a")
                }
                let before = try await lab.machine("nat-a")
                let real = try await lab.alternative("ip6tables-restore", on: "nat-a")
                try await standIn(lab, failing, for: real)
                try await lab.apply(Policies.portMapping("nat-a", subnet: 1))
                try await expectFailure(lab)
                expectSame(before, try await lab.machine("nat-a"), "\(failing)")
                if base != nil {
                    for address in ["198.51.100.7", "2001:db8:ffff::7"] {
                        let answer = try await lab.ask("client-a", "tcp", address, 80)
                        #expect(answer.hasPrefix("internet saw "), "\(address)")
                    }
                }

                // The machine mended, the agent gets there by itself.
                try await lab.shell("nat-a", "ln -sf \(real) /etc/alternatives/ip6tables-restore")
                try await lab.converged("nat-a", within: 60)
                for address in ["203.0.113.11", "2001:db8:0:100::11"] {
                    let answer = try await lab.ask("outsider", "tcp", address, 8001)
                    #expect(answer.hasPrefix("server-a saw "), "\(address): \(answer)")
                }
                #expect(try await lab.natfleet("delete", "policy", "web-nat-a").succeeded)
                try await lab.converged("nat-a")
            }
            #expect(try await lab.leaks("nat-a") == "ipv4=0 ipv6=0")
            #expect(agent.isRunning && controller.isRunning)
        }
    }

    /// /etc is the instance's own, and with it what /usr/sbin/ip6tables-restore leads to.
    private func standIn(_ lab: FleetLab, _ failing: Failing, for real: String) async throws {
        let script = """
            #!/bin/bash
            input=$(cat)
            if \(failing.rawValue); then
                echo "ip6tables-restore: the kernel is out of patience" >&2
                exit 1
            fi
            exec \(real) "$@" <<<"$input"

            """
        try await lab.exec(
            "nat-a", "bash", "-ec",
            "cat >/etc/stand-in; chmod 755 /etc/stand-in; ln -sf /etc/stand-in /etc/alternatives/ip6tables-restore",
            input: script)
    }

    private func expectFailure(_ lab: FleetLab) async throws {
        // It is tried again and again: between two tries it has failed.
        var last: Instance?
        try await eventually(within: 20, "nat-a fails: \(String(describing: last?.status))") {
            last = try await lab.instance("nat-a")
            return last?.lastOutcome?.hash == last?.desiredHash && last?.lastOutcome?.result == .failed
                && last?.status?.phase == .failed
        }
        let instance = try #require(last)
        #expect(instance.health == .degraded)
        #expect(instance.status?.conditions.map(\.code) == ["apply-failed"])
        let described = try await lab.natfleet("describe", "instance", "nat-a").output
        for part in ["ip6tables-restore ", "exit status 1", "the kernel is out of patience", "fix: "] {
            #expect(described.contains(part), "\(part): \(described)")
        }
        #expect(!described.contains("not taken back"))
        try await eventually(within: 20, "the table says so") {
            try await lab.natfleet("get", "instances").output.contains("failed")
        }
    }
}
