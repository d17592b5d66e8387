// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: natfleet contributors

import FleetModel
import Foundation
import TestSupport
import Testing

/// Whatever others do to the rules of a running agent, in both families and without a controller: put back in time, told by
/// name and counted once. On nat-a that is nft, on nat-b legacy.
@Suite(.enabled("needs root and namespaces") { await FleetLab.isAvailable })
struct DriftSerialTests {
    private struct Host: Sendable {
        let name: String
        let client: String
        let backEnd: BackEnd
        /// Seconds in which rules are back: a look that is due each ten, and what it takes.
        let limit: Double
        /// What the agent rests after a look, so that the next one comes at once.
        let rest: Double
    }

    private static let hosts = [
        Host(name: "nat-a", client: "client-a", backEnd: .nft, limit: 1, rest: 6),
        Host(name: "nat-b", client: "client-b", backEnd: .legacy, limit: 11, rest: 0),
    ]

    /// For each of `iptables` and `ip6tables`, while the agent is stopped; what its log then has to name.
    private static let harms: [(kinds: String, line: String, named: [String])] = [
        (
            "a flush and a deleted jump",
            "$program -t nat -F NATFLEET-POST; $program -D FORWARD -j NATFLEET-FWD",
            [
                "IPv4: nat: NATFLEET-POST rule 1: have none", "IPv6: nat: NATFLEET-POST rule 1: have none",
                "IPv4: filter: FORWARD does not enter NATFLEET-FWD",
                "IPv6: filter: FORWARD does not enter NATFLEET-FWD",
            ]
        ),
        (
            "a doubled jump and forwarding turned off",
            """
            $program -t nat -A POSTROUTING -j NATFLEET-POST
            echo 0 >/proc/sys/net/ipv4/ip_forward; echo 0 >/proc/sys/net/ipv6/conf/all/forwarding
            """,
            [
                "IPv4: nat: POSTROUTING enters NATFLEET-POST 2 times",
                "IPv6: nat: POSTROUTING enters NATFLEET-POST 2 times",
                "sysctl net.ipv4.ip_forward was 0", "sysctl net.ipv6.conf.all.forwarding was 0",
            ]
        ),
        // As `service iptables restart` does it, with a file in which one rule is another under its old comment, and two have
        // changed places.
        (
            "a restart of the service with an old file",
            """
            $program-save | sed -E '/natfleet:web.*DNAT/s/80$/81/' |
                awk '/^-A NATFLEET-FWD/ && n++ == 0 { held = $0; next } { print } held != "" { print held; held = "" }' >/run/old
            for table in filter nat; do
                for chain in PREROUTING INPUT FORWARD OUTPUT POSTROUTING; do $program -t $table -P $chain ACCEPT 2>/dev/null ||:; done
                $program -t $table -F; $program -t $table -X
            done
            $program-restore /run/old
            """,
            ["NATFLEET-PRE rule 1", "NATFLEET-FWD rule 1", "NATFLEET-FWD rule 2", "IPv4: ", "IPv6: "]
        ),
    ]

    @Test func allOfItIsPutBackInTimeAndNamed() async throws {
        try await FleetLab.run { lab in
            for host in Self.hosts { try await lab.use(host.backEnd, on: host.name) }
            let controller = try await lab.startController()
            let agents = [try await lab.startAgent("nat-a"), try await lab.startAgent("nat-b")]
            try await lab.apply(
                Policies.egress + "\n" + Policies.portMapping("nat-a", subnet: 1)
                    + Policies.portMapping("nat-b", subnet: 2))
            try await lab.converged("nat-a", "nat-b")
            await controller.end(SIGKILL)
            try await withThrowingTaskGroup(of: Void.self) { group in
                for (host, agent) in zip(Self.hosts, agents) {
                    group.addTask {
                        if host.backEnd == .nft { try await endFlowsOfAGapThatNobodySaw(lab, host, agent) }
                        for (number, harm) in Self.harms.enumerated() {
                            try await Task.sleep(for: .seconds(host.rest))
                            let seconds = try await repair(lab, host, agent, harm.line)
                            #expect(seconds < host.limit, "\(host.backEnd): \(harm.kinds)")
                            // The rules are there before the line is.
                            var repairs: [Substring] = []
                            try await eventually(within: 10, "\(host.backEnd): \(harm.kinds) is told: \(repairs)") {
                                repairs = agent.output.split(separator: "\n").filter { $0.contains("put back") }
                                return repairs.count > number
                            }
                            #expect(repairs.count == number + 1, "\(host.backEnd): \(harm.kinds): \(repairs)")
                            for name in harm.named {
                                #expect(repairs.last?.contains(name) == true, "\(host.backEnd) \(name): \(repairs)")
                            }
                        }
                        try await expectContended(lab, host)
                    }
                }
                try await group.waitForAll()
            }
            for host in Self.hosts {
                let answer = try await lab.ask(host.client, "tcp", "2001:db8:ffff::7", 80)
                #expect(answer.hasPrefix("internet saw 2001:db8:0:100::"), "\(host): \(answer)")
            }
            #expect(agents.allSatisfy { $0.isRunning })
        }
    }

    /// Hosts of a lab see each other's processes, so the agent goes by its number.
    private static func functions(_ agent: Daemon) -> String {
        """
        agent=\(agent.programInLab)
        state() {
            for program in iptables ip6tables; do $program-save | sed -E '/^#/d; s/\\[[0-9]+:[0-9]+\\]//'; done
            cat /proc/sys/net/ipv4/ip_forward /proc/sys/net/ipv6/conf/all/forwarding
        }
        stop() {
            kill -STOP $agent
            until grep -q '^State:.T' /proc/$agent/status; do sleep 0.01; done
        }
        """
    }

    /// - Returns: seconds from the last of a harm, which the agent sees as one, until all is as it was.
    private func repair(_ lab: FleetLab, _ host: Host, _ agent: Daemon, _ harm: String) async throws -> Double {
        let output = try await lab.shell(
            host.name,
            """
            \(Self.functions(agent))
            before=$(state)
            stop
            for program in iptables ip6tables; do
            \(harm)
            done
            [[ $(state) != "$before" ]]
            start=$EPOCHREALTIME
            kill -CONT $agent
            until [[ $(state) == "$before" ]]; do
                ((SECONDS < 25)) || { diff <(echo "$before") <(state) >&2; exit 1; }
                sleep 0.02
            done
            awk -v start=$start -v end=$EPOCHREALTIME 'BEGIN { print end - start }'
            """)
        return try #require(Double(output.trimmingCharacters(in: .whitespacesAndNewlines)))
    }

    /// Three repairs in five minutes.
    private func expectContended(_ lab: FleetLab, _ host: Host) async throws {
        var shown = ""
        try await eventually(within: 5, "\(host.backEnd): the fight is told: \(shown)") {
            shown = try await lab.exec(host.name, FleetLab.binaries + "/natfleet-agent", "status").output
            return shown.contains("contended: put back 3 times in 5 minutes")
        }
        #expect(shown.contains("NATFLEET-PRE") || shown.contains("NATFLEET-FWD"), "\(shown)")
    }

    /// `service iptables restart` between two looks: rules are as before, and a flow that began meanwhile goes untranslated.
    private func endFlowsOfAGapThatNobodySaw(_ lab: FleetLab, _ host: Host, _ agent: Daemon) async throws {
        // No look is under way.
        try await Task.sleep(for: .seconds(host.rest))
        try await lab.shell(
            host.name,
            "\(Self.functions(agent)); stop\nip6tables-save >/run/now; ip6tables -t nat -F; conntrack -F -f ipv6 2>/dev/null"
        )
        let flow = try lab.startFlow(host.client)
        try await eventually(within: 5, "the flow begins: \(flow.output)") {
            try await lab.shell(host.name, "conntrack -L -f ipv6 -p udp 2>/dev/null ||:").contains("dport=53")
        }
        try await lab.shell(host.name, "ip6tables-restore /run/now; kill -CONT \(agent.programInLab)")
        try await eventually(within: 10, "it goes out as others do: \(flow.output) \(agent.output)") {
            flow.output.split(separator: "\n").last?.hasPrefix("internet saw 2001:db8:0:100::11 ") == true
        }
        await flow.end()
        #expect(!agent.output.contains("put back"), "\(agent.output)")
    }
}
