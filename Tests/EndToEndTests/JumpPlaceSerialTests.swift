// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: natfleet contributors

import FleetModel
import NetAddress
import TestSupport
import Testing

/// Others' rules above natfleet's jumps and below them: never touched, and in nobody's way.
@Suite(.enabled("needs root and namespaces") { await FleetLab.isAvailable })
struct JumpPlaceSerialTests {
    /// The default of iptables-services (FACTS: both families end in REJECT), and above it a DROP that is there before
    /// natfleet. The empty table is what iptables makes at first use and cannot take away.
    private static func packaged(_ family: IPFamily) -> String {
        let (icmp, reject) = family == .ipv4 ? ("icmp", "icmp-host-prohibited") : ("ipv6-icmp", "icmp6-adm-prohibited")
        return """
            *filter
            :INPUT ACCEPT [0:0]
            :FORWARD ACCEPT [0:0]
            :OUTPUT ACCEPT [0:0]
            -A INPUT -m state --state RELATED,ESTABLISHED -j ACCEPT
            -A INPUT -p \(icmp) -j ACCEPT
            -A INPUT -i lo -j ACCEPT
            -A INPUT -p tcp -m state --state NEW -m tcp --dport 22 -j ACCEPT
            -A INPUT -j REJECT --reject-with \(reject)
            -A FORWARD -m comment --comment before -j DROP
            -A FORWARD -j REJECT --reject-with \(reject)
            COMMIT
            *nat
            :PREROUTING ACCEPT [0:0]
            :INPUT ACCEPT [0:0]
            :OUTPUT ACCEPT [0:0]
            :POSTROUTING ACCEPT [0:0]
            COMMIT

            """
    }

    /// One family after the other, as `for` in a shell does.
    private static func both(_ commands: String) -> String {
        "for program in iptables ip6tables; do \(commands); done"
    }

    @Test(arguments: BackEnd.allCases)
    func rulesAboveOursStayUntilTheyKeepClientsOutAndThenOursMove(backEnd: BackEnd) async throws {
        try await FleetLab.run { lab in
            for instance in ["nat-a", "nat-b"] { try await lab.use(backEnd, on: instance) }
            try await lab.exec("nat-a", "iptables-restore", input: Self.packaged(.ipv4))
            try await lab.exec("nat-a", "ip6tables-restore", input: Self.packaged(.ipv6))
            try await lab.exec("nat-b", "iptables-restore", input: ForeignRules.docker4)
            try await lab.exec("nat-b", "ip6tables-restore", input: ForeignRules.docker6)
            let theirs = [try await lab.foreignRules("nat-a"), try await lab.foreignRules("nat-b")]

            let controller = try await lab.startController()
            let agents = [try await lab.startAgent("nat-a"), try await lab.startAgent("nat-b")]
            try await lab.apply(Policies.egress + "\n" + Policies.portMapping("nat-a", subnet: 1))
            try await lab.converged("nat-a", "nat-b")
            for (instance, before) in zip(["nat-a", "nat-b"], theirs) {
                try await expectService(lab, of: instance)
                expectSame(before, try await lab.foreignRules(instance), instance)
            }
            for address in ["203.0.113.11", "2001:db8:0:100::11"] {
                #expect(try await lab.ask("outsider", "tcp", address, 8001).hasPrefix("server-a saw "))
            }

            // Docker starts anew: what it puts on top is in nobody's way, and stays there.
            let restart = """
                for rule in DOCKER-ISOLATION-STAGE-1 DOCKER-USER; do
                    $program -D FORWARD -j $rule; $program -I FORWARD -j $rule
                done
                $program -t nat -D PREROUTING -m addrtype --dst-type LOCAL -j DOCKER
                $program -t nat -I PREROUTING -m addrtype --dst-type LOCAL -j DOCKER
                """
            let counted = try await counters(lab, "nat-b")
            try await lab.shell("nat-b", Self.both(restart))
            let docker = try await lab.allRules("nat-b")

            // Somebody closes forwarding on one instance, and ends translation on the other.
            try await lab.shell("nat-a", Self.both("$program -I FORWARD 1 -m comment --comment byhand -j DROP"))
            try await mended(lab, "nat-a", "filter", "FORWARD", "-A FORWARD -m comment --comment byhand -j DROP")
            let shut = "-A FORWARD -m comment --comment before -j DROP"
            expectSame(
                theirs[0].replacing(shut, with: "-A FORWARD -m comment --comment byhand -j DROP\n\(shut)"),
                try await lab.foreignRules("nat-a"))
            #expect(try await lab.leaks("nat-a") == "ipv4=0 ipv6=0")

            expectSame(docker, try await lab.allRules("nat-b"), "Docker's stay first")
            #expect(try await lab.instance("nat-b")?.status?.drift == nil)
            try await expectService(lab, of: "nat-b")
            let after = try await counters(lab, "nat-b")
            #expect(counted.count == after.count && zip(counted, after).allSatisfy(<=), "\(counted) \(after)")

            try await lab.shell("nat-b", Self.both("$program -t nat -I POSTROUTING 1 -j ACCEPT"))
            let during = try await lab.foreignRules("nat-b")
            try await mended(lab, "nat-b", "nat", "POSTROUTING", "leaves under its own address")
            expectSame(during, try await lab.foreignRules("nat-b"))
            let last = try await counters(lab, "nat-b")
            #expect(zip(after, last).allSatisfy(<=), "\(after) \(last)")
            #expect(agents.allSatisfy(\.isRunning) && controller.isRunning)
        }
    }

    /// Packets at natfleet's own rules and at those of others, in their order.
    private func counters(_ lab: FleetLab, _ instance: String) async throws -> [Int] {
        let counted = "NATFLEET-POST|NATFLEET-FWD|DOCKER-USER|DOCKER-ISOLATION-STAGE-1"
        return try await lab.shell(
            instance, Self.both("$program-save -c | sed -En 's/^\\[([0-9]+):[0-9]+\\] -A (\(counted)) .*/\\1/p'")
        ).split(separator: "\n").compactMap { Int($0) }
    }

    private func expectService(_ lab: FleetLab, of instance: String) async throws {
        let client = instance == "nat-a" ? "client-a" : "client-b"
        let number = instance == "nat-a" ? 11 : 12
        for (address, seen) in [
            ("198.51.100.7", "203.0.113.\(number)"), ("2001:db8:ffff::7", "2001:db8:0:100::\(number)"),
        ] {
            let answer = try await lab.ask(client, "tcp", address, 80)
            #expect(answer.hasPrefix("internet saw \(seen) "), "\(instance) \(address): '\(answer)'")
        }
    }

    /// natfleet's jump is the first rule of the chain again in both families, clients are served, and who was to blame shows.
    private func mended(
        _ lab: FleetLab, _ instance: String, _ table: String, _ chain: String, _ blame: String
    ) async throws {
        try await eventually(within: 20, "jumps are first on \(instance) again") {
            try await lab.shell(instance, Self.both("$program -t \(table) -S \(chain) | sed -n 2p"))
                .split(separator: "\n").filter { $0.contains("-j NATFLEET-") }.count == 2
        }
        try await expectService(lab, of: instance)
        var shown: [Condition] = []
        try await eventually(within: 5, "the repair shows: \(shown)") {
            shown = try await lab.instance(instance)?.status?.conditions ?? []
            return shown.map(\.code) == ["drift-repaired"]
        }
        #expect(shown.first?.message.contains("before it enters NATFLEET-") == true, "\(shown)")
        #expect(shown.first?.message.contains(blame) == true, "\(shown)")
    }
}
