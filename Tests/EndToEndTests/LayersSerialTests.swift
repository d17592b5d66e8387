// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: natfleet contributors

import TestSupport
import Testing

/// Several policies on one instance, among the rules of others.
@Suite(.enabled("needs root and namespaces") { await FleetLab.isAvailable })
struct LayersSerialTests {
    private static let games = """
        apiVersion: natfleet/v1
        kind: NATPolicy
        metadata: {name: games}
        spec:
          priority: 50
          selector: {instances: [nat-a]}
          forwarding: {ipv4: true, ipv6: true}
          dnat:
            - {name: names, protocol: udp, port: 5353, to: "10.0.1.80:53"}
            - {name: names, protocol: udp, port: 5353, to: "[2001:db8:0:101::80]:53"}
            - {name: same, protocol: tcp, port: "9000-9009", to: "10.0.1.80:9000-9009"}
            - {name: same, protocol: tcp, port: "9000-9009", to: "[2001:db8:0:101::80]:9000"}
            - {name: shifted, protocol: tcp, port: "7010-7019", to: "10.0.1.80:9010"}
            - {name: shifted, protocol: tcp, port: "7010-7019", to: "[2001:db8:0:101::80]:9010-9019"}
        """

    @Test func aSecondPolicyAddsItsForwardsAndTakesOnlyThemAway() async throws {
        try await FleetLab.run { lab in
            let controller = try await lab.startController()
            let agents = [try await lab.startAgent("nat-a"), try await lab.startAgent("nat-b")]
            try await lab.apply(Policies.egress + "\n" + Policies.portMapping("nat-a", subnet: 1))
            try await lab.converged("nat-a", "nat-b")
            let before = try await lab.allRules("nat-a")
            let other = try await lab.allRules("nat-b")
            try await expectForwards(lab, areOpen: false)

            try await lab.apply(Self.games)
            try await lab.converged("nat-a", "nat-b")
            try await expectForwards(lab, areOpen: true)
            try await expectBaseLayer(lab)
            expectSame(other, try await lab.allRules("nat-b"))
            let own = try await lab.ownRules("nat-a")
            #expect(own.contains("natfleet:games/shifted") && own.contains("natfleet:web-nat-a/PortMapping"))

            #expect(try await lab.natfleet("delete", "policy", "games").succeeded)
            try await lab.converged("nat-a")
            expectSame(before, try await lab.allRules("nat-a"))
            try await expectForwards(lab, areOpen: false)
            try await expectBaseLayer(lab)
            #expect(try await lab.leaks("nat-a") == "ipv4=0 ipv6=0")
            #expect(agents.allSatisfy(\.isRunning) && controller.isRunning)
        }
    }

    private func expectForwards(_ lab: FleetLab, areOpen: Bool) async throws {
        for (kind, port, target) in [
            ("udp", 5353, 53), ("tcp", 9000, 9000), ("tcp", 9009, 9009), ("tcp", 7010, 9010), ("tcp", 7019, 9019),
        ] {
            for (address, peer) in [("203.0.113.11", "198.51.100.99"), ("2001:db8:0:100::11", "2001:db8:ffff::99")] {
                // The lab loses a datagram now and then.
                let answer =
                    areOpen
                    ? try await lab.askAgain("outsider", kind, address, port)
                    : try await lab.ask("outsider", kind, address, port, seconds: 1)
                let isRight = answer.hasPrefix("server-a saw \(peer) ") && answer.hasSuffix("\(kind)/\(target)")
                #expect(areOpen ? isRight : answer == "", "\(kind) \(address) \(port): '\(answer)'")
            }
        }
        // The neighbours of the ranges stay shut.
        for port in [8999, 9010, 7009, 7020] where areOpen {
            #expect(try await lab.ask("outsider", "tcp", "203.0.113.11", port, seconds: 1) == "", "\(port)")
        }
    }

    private func expectBaseLayer(_ lab: FleetLab) async throws {
        for address in ["198.51.100.7", "2001:db8:ffff::7"] {
            #expect(try await lab.ask("client-a", "tcp", address, 80).hasPrefix("internet saw "))
        }
        for address in ["203.0.113.11", "2001:db8:0:100::11"] {
            #expect(try await lab.ask("outsider", "tcp", address, 8001).hasPrefix("server-a saw "))
        }
    }

    @Test func theRulesOfOthersStayByteForByte() async throws {
        try await FleetLab.run { lab in
            let controller = try await lab.startController()
            try await lab.exec("nat-a", "iptables-restore", input: ForeignRules.docker4)
            try await lab.exec("nat-a", "ip6tables-restore", input: ForeignRules.docker6)
            try await lab.exec("nat-a", "iptables-restore", "-n", input: ForeignRules.ufw4)
            try await lab.exec("nat-a", "ip6tables-restore", "-n", input: ForeignRules.ufw6)
            let loaded = try await lab.exec("nat-a", "bash", "-c", ForeignRules.load, input: ForeignRules.extensions)
            let taken = loaded.output.split(whereSeparator: \.isWhitespace).compactMap { Int($0) }
            #expect(taken.count == 2 && taken.allSatisfy { $0 >= 20 }, "\(loaded.output) \(loaded.errors)")
            var theirs = try await lab.allRules("nat-a")
            #expect(theirs.contains("DOCKER-USER") && theirs.contains("ufw6-before-forward"))

            let agent = try await lab.startAgent("nat-a")
            try await lab.apply(Policies.egress + "\n" + Policies.portMapping("nat-a", subnet: 1))
            try await lab.converged("nat-a")
            try await expectBaseLayer(lab)
            expectSame(theirs, try await lab.foreignRules("nat-a"))

            // Others go on working: above our jumps, below them, in a chain of their own.
            for program in ["iptables", "ip6tables"] {
                try await lab.shell(
                    "nat-a",
                    """
                    \(program) -I FORWARD 1 -p tcp --dport 7777 -j DROP
                    \(program) -t nat -I PREROUTING 1 -p tcp --dport 7778 -j REDIRECT --to-ports 7779
                    \(program) -A DOCKER-USER -p tcp --dport 7780 -j DROP
                    \(program) -t nat -A POSTROUTING -p udp --dport 7781 -m comment --comment during -j ACCEPT
                    """)
            }
            theirs = try await lab.foreignRules("nat-a")
            #expect(theirs.contains("--dport 7777") && theirs.contains("during"))
            try await lab.apply(Self.games)
            try await lab.converged("nat-a")
            try await expectForwards(lab, areOpen: true)
            expectSame(theirs, try await lab.foreignRules("nat-a"))

            #expect(try await lab.natfleet("delete", "policy", "games").succeeded)
            try await lab.converged("nat-a")
            expectSame(theirs, try await lab.foreignRules("nat-a"))
            #expect(try await lab.natfleet("delete", "policy", "egress", "web-nat-a").succeeded)
            try await lab.converged("nat-a")
            expectSame(theirs, try await lab.allRules("nat-a"))
            #expect(agent.isRunning && controller.isRunning)
        }
    }
}
