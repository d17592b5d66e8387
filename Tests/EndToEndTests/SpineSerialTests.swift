// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: natfleet contributors

import Foundation
import TestSupport
import Testing

/// From `natfleet apply` to translated packets, on one interface and on two.
@Suite(.enabled("needs root and namespaces") { await FleetLab.isAvailable })
struct SpineSerialTests {
    private struct Place {
        let instance: String
        let client: String
        let server: String
        let subnet: Int
        let public4: String
        let own6: String
    }

    private static let single = Place(
        instance: "nat-a", client: "client-a", server: "server-a", subnet: 1, public4: "203.0.113.11",
        own6: "2001:db8:0:100::11")
    private static let double = Place(
        instance: "nat-c", client: "client-c", server: "server-c", subnet: 3, public4: "203.0.113.13",
        own6: "2001:db8:0:100::13")

    @Test(arguments: BackEnd.allCases)
    func theSeedsPolicyTranslatesBothWaysInBothFamilies(backEnd: BackEnd) async throws {
        try await FleetLab.run { lab in
            for instance in ["nat-a", "nat-c"] { try await lab.use(backEnd, on: instance) }
            let controller = try await lab.startController()
            let agents = [try await lab.startAgent("nat-a"), try await lab.startAgent("nat-c")]
            try await lab.apply(
                Policies.egress + "\n" + Policies.portMapping("nat-a", subnet: 1)
                    + Policies.portMapping("nat-c", subnet: 3))
            try await lab.converged("nat-a", "nat-c")

            for place in [Self.single, Self.double] {
                try await expectEgress(lab, place)
                try await expectIngress(lab, place)
                #expect(try await lab.leaks(place.instance) == "ipv4=0 ipv6=0")
                try await lab.expectOnly(backEnd, on: place.instance)
            }

            // The counter counts: without nat the same traffic is a leak, while no agent can put nat back.
            kill(agents[0].program, SIGSTOP)
            for program in ["iptables", "ip6tables"] {
                try await lab.shell("nat-a", "\(program) -t nat -F NATFLEET-POST; conntrack -F 2>/dev/null")
            }
            try await lab.expectLeaks("nat-a", "client-a")

            // And the agent puts the rules back by itself, and ends the flows that went out untranslated.
            kill(agents[0].program, SIGCONT)
            try await eventually(within: 30, "the flushed chain is back") {
                try await lab.ask("client-a", "tcp", "198.51.100.7", 80).hasPrefix("internet saw 203.0.113.11")
            }
            #expect(agents.allSatisfy(\.isRunning) && controller.isRunning)
        }
    }

    private func expectEgress(_ lab: FleetLab, _ place: Place) async throws {
        for (kind, port) in [("tcp", 80), ("udp", 53)] {
            let four = try await lab.askAgain(place.client, kind, "198.51.100.7", port)
            #expect(four.hasPrefix("internet saw \(place.public4) "), "\(place.instance) \(kind): \(four)")
            let six = try await lab.askAgain(place.client, kind, "2001:db8:ffff::7", port)
            #expect(six.hasPrefix("internet saw \(place.own6) "), "\(place.instance) \(kind): \(six)")
        }
        for address in ["198.51.100.7", "2001:db8:ffff::7"] {
            #expect(try await lab.askAgain(place.client, "ping", address).hasPrefix("answer from \(address)"))
        }
    }

    private func expectIngress(_ lab: FleetLab, _ place: Place) async throws {
        let four = try await lab.ask("outsider", "tcp", place.public4, 8001)
        #expect(four.hasPrefix("\(place.server) saw 198.51.100.99 ") && four.hasSuffix("tcp/80"), "\(four)")
        let six = try await lab.ask("outsider", "tcp", place.own6, 8001)
        #expect(six.hasPrefix("\(place.server) saw 2001:db8:ffff::99 ") && six.hasSuffix("tcp/80"), "\(six)")
        // Nothing else from outside gets in: other ports, the private server itself.
        for (address, port) in [
            (place.public4, 80), (place.public4, 8002), (place.own6, 80), ("10.0.\(place.subnet).80", 80),
            ("2001:db8:0:10\(place.subnet)::80", 80),
        ] {
            #expect(try await lab.ask("outsider", "tcp", address, port, seconds: 1) == "", "\(address):\(port)")
        }
    }

    @Test(arguments: ["ACCEPT", "DROP"], BackEnd.allCases)
    func aSourceThatNoMasqueradeCoversDoesNotLeave(forwardPolicy: String, backEnd: BackEnd) async throws {
        try await FleetLab.run { lab in
            try await lab.use(backEnd, on: "nat-a")
            let controller = try await lab.startController()
            for program in ["iptables", "ip6tables"] {
                try await lab.shell("nat-a", "\(program) -P FORWARD \(forwardPolicy)")
            }
            let agent = try await lab.startAgent("nat-a")
            try await lab.apply(Policies.egress(of: "10.0.1.0/24, \"2001:db8:0:101::/64\""))
            try await lab.converged("nat-a")
            for address in ["198.51.100.7", "2001:db8:ffff::7"] {
                #expect(try await lab.ask("client-a", "tcp", address, 80).hasPrefix("internet saw "))
                for kind in ["tcp", "udp"] {
                    let port = kind == "tcp" ? 80 : 53
                    #expect(try await lab.ask("client-x", kind, address, port, seconds: 1) == "", "\(kind) \(address)")
                }
                #expect(try await lab.ask("client-x", "ping", address) == "")
            }
            #expect(try await lab.leaks("nat-a") == "ipv4=0 ipv6=0")
            #expect(agent.isRunning && controller.isRunning)
        }
    }

    @Test(arguments: BackEnd.allCases)
    func theAgentKeepsAndReAppliesWithoutAController(backEnd: BackEnd) async throws {
        try await FleetLab.run { lab in
            try await lab.use(backEnd, on: "nat-a")
            let controller = try await lab.startController()
            let agent = try await lab.startAgent("nat-a")
            try await lab.apply(Policies.egress)
            try await lab.converged("nat-a")
            await controller.end(SIGKILL)
            await agent.end()
            #expect(agent.output.contains("stopped; NAT stays as it is"))
            #expect(try await lab.ask("client-a", "tcp", "198.51.100.7", 80).hasPrefix("internet saw 203.0.113.11"))

            // As after a reboot: no rules, no forwarding, no controller.
            try await lab.shell(
                "nat-a",
                """
                for program in iptables ip6tables; do
                    for table in nat filter; do $program -t $table -F; $program -t $table -X; done
                done
                echo 0 >/proc/sys/net/ipv4/ip_forward; echo 0 >/proc/sys/net/ipv6/conf/all/forwarding
                conntrack -F 2>/dev/null
                """)
            #expect(try await lab.ask("client-a", "tcp", "198.51.100.7", 80, seconds: 1) == "")
            let restored = try await lab.exec("nat-a", FleetLab.binaries + "/natfleet-agent", "restore")
            #expect(restored.succeeded, "\(restored.errors)")
            #expect(try await lab.ask("client-a", "tcp", "198.51.100.7", 80).hasPrefix("internet saw 203.0.113.11"))

            try await lab.shell("nat-a", "iptables -t nat -F; ip6tables -t nat -F")
            let again = try lab.runAgent("nat-a")
            try await eventually(within: 20, "the restarted agent re-applies: \(again.output)") {
                try await lab.ask("client-a", "tcp", "2001:db8:ffff::7", 80).hasPrefix(
                    "internet saw 2001:db8:0:100::11")
            }
        }
    }

    @Test(arguments: BackEnd.allCases)
    func theRulesGoWithThePolicy(backEnd: BackEnd) async throws {
        try await FleetLab.run { lab in
            try await lab.use(backEnd, on: "nat-a")
            let controller = try await lab.startController()
            let before = try await lab.shell("nat-a", "sysctl -a 2>/dev/null | grep -E 'forward|redirects|accept_ra '")
            let agent = try await lab.startAgent("nat-a")
            try await lab.apply(Policies.egress + "\n" + Policies.portMapping("nat-a", subnet: 1))
            try await lab.converged("nat-a")
            #expect(try await lab.natfleet("delete", "policy", "egress", "web-nat-a").succeeded)
            try await lab.converged("nat-a")
            #expect(try await lab.shell("nat-a", "iptables-save; ip6tables-save").contains("NATFLEET") == false)
            #expect(
                try await lab.shell("nat-a", "sysctl -a 2>/dev/null | grep -E 'forward|redirects|accept_ra '") == before
            )
            #expect(agent.isRunning && controller.isRunning)
        }
    }
}
