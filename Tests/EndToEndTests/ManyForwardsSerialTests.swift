// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: natfleet contributors

import Foundation
import TestSupport
import Testing

/// Ten thousand port forwards, from `natfleet apply` to packets, and then one of them changed.
@Suite(.enabled("needs root and namespaces") { await FleetLab.isAvailable })
struct ManyForwardsSerialTests {
    private static let ports = 10_000..<20_000
    private static let changed = 15_000
    /// In the leaf chain of the one that changes.
    private static let neighbour = 15_001
    private static let instance = ["203.0.113.11", "2001:db8:0:100::11"]

    /// Ten thousand in IPv4 and, to keep the test short, the first, the middle and the last leaf chain of them in IPv6. All
    /// lead to port 80 of server-a but the changed one.
    private static func policy(changedTo target: Int = 80) -> String {
        let some = [ports.prefix(25), ports[changed..<changed + 25], ports.suffix(25)].flatMap(\.self)
        let entries = [("10.0.1.80", Array(ports)), ("[2001:db8:0:101::80]", some)].flatMap { server, ports in
            ports.map { port in
                "    - {name: p\(port), protocol: tcp, port: \(port), to: \"\(server):\(port == changed ? target : 80)\"}\n"
            }
        }
        return """
            apiVersion: natfleet/v1
            kind: NATPolicy
            metadata: {name: many}
            spec:
              selector: {instances: [nat-a]}
              forwarding: {ipv4: true, ipv6: true}
              dnat:
            \(entries.joined())
            """
    }

    @Test(arguments: BackEnd.allCases)
    func oneOfTenThousandChangesAlone(backEnd: BackEnd) async throws {
        try await FleetLab.run { lab in
            try await lab.use(backEnd, on: "nat-a")
            try await lab.traceRestores(on: "nat-a")
            let controller = try await lab.startController()
            let agent = try await lab.startAgent("nat-a")
            try await lab.apply(Policies.egress + "\n---\n" + Self.policy())
            try await lab.converged("nat-a", within: 90)
            try await lab.expectOnly(backEnd, on: "nat-a")
            for port in [Self.ports.lowerBound, Self.changed, Self.neighbour, Self.ports.upperBound - 1] {
                try await expectAnswer(lab, port, from: 80)
            }
            for port in [Self.ports.lowerBound - 1, Self.ports.upperBound] {
                #expect(try await lab.ask("outsider", "tcp", Self.instance[0], port, seconds: 1) == "")
            }
            let filling = try await lab.tracedRestores(on: "nat-a")
            #expect(filling.contains { $0.isReal } && filling.contains { !$0.isReal }, "the trace shows both kinds")

            let before = try await countedRules(lab)
            try await lab.apply(Self.policy(changedTo: 9000))
            try await lab.converged("nat-a", within: 90)
            let after = try await countedRules(lab)
            let all = try await lab.tracedRestores(on: "nat-a")
            // Whole, before the real one is touched.
            let rehearsed = all.prefix { !$0.isReal }.filter { $0.program == "iptables-restore" }
            let rules = rehearsed.flatMap { $0.input.split(separator: "\n") }.filter { $0.contains("natfleet:many/") }
            #expect(rules.count == 2 * Self.ports.count)
            let runs = all.filter(\.isReal)
            #expect(Set(runs.map(\.program)) == ["iptables-restore", "ip6tables-restore"])
            for run in runs {
                #expect(run.arguments.contains("--noflush") && run.arguments.contains("--counters"))
                // The leaf of each table.
                #expect(run.chains.count <= 2 && run.chains.allSatisfy { $0.hasSuffix("-\(Self.changed)") }, "\(run)")
                #expect(run.input.utf8.count < 16 << 10)
            }
            expectKept(before, after, backEnd)

            try await expectAnswer(lab, Self.changed, from: 9000)
            for port in [Self.ports.lowerBound, Self.neighbour, Self.ports.upperBound - 1] {
                try await expectAnswer(lab, port, from: 80)
            }
            try await expectRepair(lab)
            #expect(agent.isRunning && controller.isRunning)
        }
    }

    /// One rule of them says something else in as many bytes, which no count of rules tells. What a program of iptables did is
    /// looked at soon, and without that only with everything, every five minutes.
    private func expectRepair(_ lab: FleetLab) async throws {
        let lines = { try await lab.shell("nat-a", "iptables-save -t nat | grep 'many/p\(Self.neighbour)\"'") }
        let before = try await lines()
        let harm = "sed '/many.p\(Self.neighbour)\"/s/:80$/:81/'"
        try await lab.shell("nat-a", "iptables-save -t nat | \(harm) | iptables-restore -T nat")
        try await eventually(within: 30, "the rule is what it was") { try await lines() == before }
        try await expectAnswer(lab, Self.neighbour, from: 80)
    }

    private func expectAnswer(_ lab: FleetLab, _ port: Int, from target: Int) async throws {
        for (address, peer) in zip(Self.instance, ["198.51.100.99", "2001:db8:ffff::99"]) {
            let answer = try await lab.ask("outsider", "tcp", address, port, seconds: 5)
            #expect(
                answer.hasPrefix("server-a saw \(peer) ") && answer.hasSuffix("tcp/\(target)"), "\(port): \(answer)")
        }
    }

    /// Packets of each rule of port forwards, by family and rule.
    private func countedRules(_ lab: FleetLab) async throws -> [String: Int] {
        let text = try await lab.shell(
            "nat-a", "for p in iptables ip6tables; do $p-save -c | sed -nE \"/-A NATFLEET-(PRE|FWD)/s/^/$p /p\"; done")
        var counts: [String: Int] = [:]
        for line in text.split(separator: "\n") {
            let words = line.split(separator: " ", maxSplits: 2)
            let packets: Int = try #require(Int(words[1].dropFirst().prefix { $0 != ":" }), "\(line)")
            counts["\(words[0]) \(words[2])"] = packets
        }
        return counts
    }

    /// Rules that stay count on: nothing came in between.
    private func expectKept(_ before: [String: Int], _ after: [String: Int], _ backEnd: BackEnd) {
        let isChanged = { (rule: String) in rule.contains("many/p\(Self.changed)\"") }
        let used = before.filter { $0.value > 0 && $0.key.contains("natfleet:many/") && !isChanged($0.key) }
        #expect(used.count == 3 * 2 * 2, "three ports, two tables, two families: \(used)")
        for (rule, count) in before where !isChanged(rule) {
            // ip6tables-nft 1.8.9 reads counters and drops them, of the chain that is rewritten that is.
            let isDropped = backEnd == .nft && rule.hasPrefix("ip6tables") && rule.contains("-\(Self.changed) ")
            if isDropped { continue }
            // Packets of connections that end count on in the rule for replies, and the agent's own probe leaves as clients do.
            // The kernel takes up a connection of the agent's that is older than the rules when the controller speaks first, to
            // close it for instance: a packet to this host, and to none of the ports.
            let isUsed = ["natfleet:established", "natfleet:egress/", "-A NATFLEET-PRE "].contains { rule.contains($0) }
            #expect(isUsed ? after[rule, default: -1] >= count : after[rule] == count, "\(rule)")
        }
        #expect(after.keys.filter { !isChanged($0) }.count == before.keys.filter { !isChanged($0) }.count)
    }
}
