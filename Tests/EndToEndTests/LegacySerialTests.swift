// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: natfleet contributors

import FleetModel
import TestSupport
import Testing

/// Either back end of iptables, and never both.
@Suite(.enabled("needs root and namespaces") { await FleetLab.isAvailable })
struct LegacySerialTests {
    @Test(arguments: BackEnd.allCases)
    func undoBringsBackWhatAnsweredBefore(backEnd: BackEnd) async throws {
        try await FleetLab.run { lab in
            try await lab.use(backEnd, on: "nat-a")
            let controller = try await lab.startController()
            let agent = try await lab.startAgent("nat-a")
            try await lab.apply(Policies.egress + "\n" + Policies.portMapping("nat-a", subnet: 1))
            try await lab.converged("nat-a")
            for (port, change) in [(9000, "apply"), (80, "undo")] {
                if change == "apply" {
                    try await lab.apply(Policies.portMapping("nat-a", subnet: 1, port: port))
                } else {
                    #expect(try await lab.natfleet("rollout", "undo", "web-nat-a").succeeded)
                }
                try await lab.converged("nat-a")
                for address in ["203.0.113.11", "2001:db8:0:100::11"] {
                    let answer = try await lab.ask("outsider", "tcp", address, 8001)
                    #expect(answer.hasPrefix("server-a saw ") && answer.hasSuffix("tcp/\(port)"), "\(answer)")
                }
            }
            try await lab.expectOnly(backEnd, on: "nat-a")
            #expect(agent.isRunning && controller.isRunning)
        }
    }

    @Test(arguments: BackEnd.allCases)
    func rulesInTheOtherBackEndAreAReasonToRefuse(backEnd: BackEnd) async throws {
        try await FleetLab.run { lab in
            try await lab.use(backEnd, on: "nat-a")
            let foreign = "ip6tables-\(backEnd.other.rawValue) -t nat"
            let rule = "POSTROUTING -o eth0 -j MASQUERADE"
            try await lab.shell("nat-a", "\(foreign) -A \(rule)")
            let controller = try await lab.startController()
            let agent = try await lab.startAgent("nat-a")
            try await lab.apply(Policies.egress)
            try await eventually(within: 20, "the refusal shows: \(agent.output)") {
                try await lab.instance("nat-a")?.status?.conditions.map(\.code) == ["policy-refused"]
            }
            let reason = try #require(await lab.instance("nat-a")?.status?.conditions.first?.message)
            #expect(
                reason == "iptables here is iptables-\(backEnd.rawValue), but iptables-\(backEnd.other.rawValue) "
                    + "holds rules too: IPv6 nat POSTROUTING")
            #expect(try await !lab.allRules("nat-a").contains("NATFLEET"))
            #expect(try await lab.shell("nat-a", "sysctl -n net.ipv4.ip_forward") == "0\n")

            // An empty table, as listing one leaves it, is no rule.
            try await lab.shell("nat-a", "\(foreign) -D \(rule)")
            try await lab.converged("nat-a")
            #expect(try await lab.ask("client-a", "tcp", "198.51.100.7", 80).hasPrefix("internet saw 203.0.113.11"))

            // Rules that come later leave what runs in repair, and show.
            try await lab.shell("nat-a", "\(foreign) -A \(rule); iptables -t nat -F NATFLEET-POST")
            try await eventually(within: 30, "the conflict shows: \(agent.output)") {
                try await lab.instance("nat-a")?.status?.conditions.map(\.code).contains("two-back-ends") == true
            }
            #expect(try await lab.shell("nat-a", "iptables -t nat -S NATFLEET-POST").contains("MASQUERADE"))
            try await lab.shell("nat-a", "\(foreign) -D \(rule)")
            try await lab.converged("nat-a")
            #expect(agent.isRunning && controller.isRunning)
        }
    }

    @Test func aMachineThatChangesItsBackEndKeepsItsRules() async throws {
        try await FleetLab.run { lab in
            try await lab.use(.nft, on: "nat-a")
            let controller = try await lab.startController()
            let agent = try await lab.startAgent("nat-a")
            try await lab.apply(Policies.egress)
            try await lab.converged("nat-a")
            try await lab.use(.legacy, on: "nat-a")
            try await eventually(within: 30, "it shows: \(agent.output)") {
                try await lab.instance("nat-a")?.status?.conditions.map(\.code) == ["two-back-ends"]
            }
            try await lab.expectOnly(.nft, on: "nat-a")
            #expect(try await lab.ask("client-a", "tcp", "198.51.100.7", 80).hasPrefix("internet saw 203.0.113.11"))

            // Once the old ones are gone, the new back end gets them.
            for program in ["iptables-nft", "ip6tables-nft"] {
                for table in ["nat", "filter"] {
                    try await lab.shell("nat-a", "\(program) -t \(table) -F; \(program) -t \(table) -X")
                }
            }
            try await lab.converged("nat-a")
            try await lab.expectOnly(.legacy, on: "nat-a")
            #expect(try await lab.askAgain("client-a", "udp", "2001:db8:ffff::7", 53).hasPrefix("internet saw "))
            #expect(agent.isRunning && controller.isRunning)
        }
    }
}
