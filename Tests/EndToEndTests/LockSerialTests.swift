// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: natfleet contributors

import FleetModel
import TestSupport
import Testing

/// Somebody else holds the lock of the legacy back end, as a script with a long `iptables-restore` does.
@Suite(.enabled("needs root and namespaces") { await FleetLab.isAvailable })
struct LockSerialTests {
    /// Seconds that the agent's programs wait; 10 by default.
    private static let bound = 5

    @Test func theLockIsWaitedForWithABound() async throws {
        try await FleetLab.run { lab in
            try await lab.use(.legacy, on: "nat-a")
            let controller = try await lab.startController()
            try await lab.writeConfiguration("nat-a", token: try await lab.joinToken("--instance", "nat-a"))
            let agent = try HeldAgent("nat-a", lab, settings: ["NATFLEET_LOCK_SECONDS=\(Self.bound)"])
            let egress = Policies.egress.replacing("{matchLabels: {vpc: demo}}", with: "{instances: [nat-a]}")
            try await lab.apply(egress)
            try await lab.converged("nat-a")
            let traffic = try SteadyTraffic("client-a", lab)
            let before = try await lab.machine("nat-a")

            // For three seconds, from just before the rules are loaded: the change comes after it.
            let start = ContinuousClock.now
            var holder = try await change(lab, agent, port: 81) { try await lab.holdLock("nat-a", seconds: 3) }
            try await lab.converged("nat-a", within: 20)
            #expect(ContinuousClock.now - start > .seconds(3))
            #expect(try await lab.instance("nat-a")?.lastOutcome?.result == .applied)
            #expect(try await lab.natfleet("delete", "policy", "web-nat-a").succeeded)
            try await lab.converged("nat-a")
            expectSame(before, try await lab.machine("nat-a"))

            // For longer than anybody waits, and so while it is taken back as well.
            holder = try await change(lab, agent, port: 82) { try await lab.holdLock("nat-a", seconds: 3600) }
            var last: Instance?
            try await eventually(within: 40, "the lock shows: \(String(describing: last?.status))") {
                last = try await lab.instance("nat-a")
                return last?.status?.conditions.contains { $0.code == "apply-failed" } == true
            }
            let described = try await lab.natfleet("describe", "instance", "nat-a").output
            for part in [
                "tables-restore --noflush --counters -w \(Self.bound): exit status 4", "xtables lock", "fix: ",
            ] {
                #expect(described.contains(part), "\(part): \(described)")
            }
            expectSame(before, try await lab.machine("nat-a"))

            // Let go, the agent gets there by itself.
            await holder.end()
            try await lab.converged("nat-a", within: 40)
            #expect(try await lab.allRules("nat-a").contains("--to-destination 10.0.1.80:82"))
            await traffic.expectAllAnswered(atLeast: 50)
            #expect(try await lab.leaks("nat-a") == "ipv4=0 ipv6=0")
            #expect(agent.daemon.isRunning && controller.isRunning)
        }
    }

    private func change(
        _ lab: FleetLab, _ agent: HeldAgent, port: Int, holding: () async throws -> Daemon
    ) async throws -> Daemon {
        var holder: Daemon?
        try await agent.hold(at: "apply") {
            try await lab.apply(Policies.portMapping("nat-a", subnet: 1, port: port))
        } meanwhile: {
            holder = try await holding()
        }
        return try #require(holder)
    }
}

extension FleetLab {
    /// The file is that of iptables/xshared.h; /run is the instance's own.
    fileprivate func holdLock(_ host: String, seconds: Int) async throws -> Daemon {
        let line = "exec 9>>/run/xtables.lock; flock 9; echo held; exec sleep \(seconds)"
        let holder = try daemon(host, ["bash", "-c", line])
        try await eventually(within: 5, "the lock is held") { holder.output.contains("held") }
        return holder
    }
}
