// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: natfleet contributors

import FleetModel
import Foundation
import TestSupport
import Testing

/// The outside interface comes late, changes its address, loses it, gets another name: one agent lives through all of it.
///
/// It speaks with its controller by the inside interface, so that what it says can be seen meanwhile.
@Suite(.enabled("needs root and namespaces") { await FleetLab.isAvailable })
struct OutsideInterfaceSerialTests {
    private static let policy = """
        apiVersion: natfleet/v1
        kind: NATPolicy
        metadata: {name: egress}
        spec:
          selector: {instances: [nat-c]}
          forwarding: {ipv4: true, ipv6: true}
          masquerade:
            - name: egress
              families: [ipv4, ipv6]
              sources: [10.0.3.0/24, "2001:db8:0:103::/64"]
          dnat:
            - {name: PortMapping, protocol: tcp, port: 8001, to: "10.0.3.80:80"}
            - {name: PortMapping, protocol: tcp, port: 8001, to: "[2001:db8:0:103::80]:80"}

        """

    @Test func rulesFollowAnInterfaceThatComesAndGoes() async throws {
        try await FleetLab.run { lab in
            // A host that owns nat-c's next address would answer for it.
            try await lab.shell("nat-b", "ip link set eth0 down")
            try await lab.shell("nat-c", "ip route add 10.0.0.5 via 10.0.9.1 dev eth1")
            try await lab.shell("nat-c", "ip netns add attic; ip link set eth0 netns attic")
            let controller = try await lab.startController()
            let agent = try await lab.startAgent("nat-c")
            try await lab.apply(Self.policy)
            try await expectTrouble(lab, ["policy-refused"], "the outside interface is not there yet")

            try await lab.bringOutside(13)
            try await expectService(lab, 13, "eth0", "it appeared")

            // The address goes: rules stay, it shows, and goes away with the address' return.
            let rules = try await lab.ownRules("nat-c")
            try await lab.shell(
                "nat-c", "ip addr del 10.0.0.13/24 dev eth0; ip addr del 2001:db8:0:100::13/64 dev eth0")
            try await expectTrouble(
                lab, ["outside-address-missing", "outside-address-missing"], "the addresses are gone")
            expectSame(rules, try await lab.ownRules("nat-c"), "without addresses")
            try await lab.shell("nat-c", "for p in iptables ip6tables; do $p -t nat -F NATFLEET-POST; done")
            try await eventually(within: 10, "rules are kept in repair meanwhile") {
                try await lab.ownRules("nat-c") == rules
            }
            // The kernel translates what begins now to an address of the inside, and goes on so.
            let flow = try lab.startFlow("client-c")
            try await eventually(within: 10, "a flow goes astray: \(flow.output)") {
                flow.output.contains("internet saw 2001:db8:0:109::13 ")
            }
            try await lab.setOutside(13)
            try await expectService(lab, 13, "eth0", "the addresses are back")
            try await eventually(within: 10, "the flow goes out as others do: \(flow.output.suffix(300))") {
                flow.output.split(separator: "\n").last?.hasPrefix("internet saw 2001:db8:0:100::13 ") == true
            }
            await flow.end()

            try await lab.shell("nat-c", "ip addr flush dev eth0 scope global")
            try await lab.setOutside(12)
            try await expectService(lab, 12, "eth0", "other addresses")
            let moved = try await lab.ownRules("nat-c")
            #expect(!moved.contains("10.0.0.13") && !moved.contains("2001:db8:0:100::13"), "\(moved)")

            try await lab.shell("nat-c", "ip link set eth0 down; ip link set eth0 name wan0")
            try await expectTrouble(lab, ["outside-interface-missing"], "another name")
            expectSame(moved, try await lab.ownRules("nat-c"), "under another name")
            try await lab.setOutside(12, interface: "wan0")
            try await expectService(lab, 12, "wan0", "another name")
            #expect(try await !lab.ownRules("nat-c").contains(" eth0 "))

            #expect(try await lab.leaks("nat-c") == "ipv4=0 ipv6=0")
            #expect(agent.isRunning && controller.isRunning)
        }
    }

    /// - Parameter codes: of critical conditions.
    private func expectTrouble(_ lab: FleetLab, _ codes: [String], _ what: String) async throws {
        var last: Instance?
        try await eventually(within: 40, "\(what) shows: \(String(describing: last))") {
            last = try await lab.instance("nat-c")
            let shown = last?.status?.conditions.filter { $0.severity == .critical }.map(\.code)
            return last?.health == .degraded && shown == codes
        }
    }

    private func expectService(_ lab: FleetLab, _ number: Int, _ interface: String, _ what: String) async throws {
        try await lab.shell("router", "ip neigh flush dev br-pub")
        // The rules first: an instance that has noticed nothing yet looks healthy.
        let expected = ["-o \(interface) ", "-d 10.0.0.\(number)/32 ", "-d 2001:db8:0:100::\(number)/128 "]
        try await eventually(within: 40, "\(what): the rules follow") {
            let rules = try await lab.ownRules("nat-c")
            return expected.allSatisfy { rules.contains($0) }
        }
        try await lab.converged("nat-c", within: 40)
        let (four, six) = ("203.0.113.\(number)", "2001:db8:0:100::\(number)")
        for (own, address) in [(four, "198.51.100.7"), (six, "2001:db8:ffff::7")] {
            let out = try await lab.ask("client-c", "tcp", address, 80)
            #expect(out.hasPrefix("internet saw \(own) "), "\(what): \(out)")
            let back = try await lab.ask("outsider", "tcp", own, 8001)
            #expect(back.hasPrefix("server-c saw "), "\(what): \(own): \(back)")
        }
    }
}

extension FleetLab {
    /// Takes nat-c's outside interface back from where it was put away.
    fileprivate func bringOutside(_ number: Int) async throws {
        try await shell("nat-c", "ip -n attic link set eth0 netns $$; ip link show eth0")
        try await setOutside(number)
    }

    /// Gives nat-c's outside interface addresses and default routes, as DHCP and router advertisements would.
    fileprivate func setOutside(_ number: Int, interface: String = "eth0") async throws {
        try await shell(
            "nat-c",
            """
            ip link set \(interface) up
            ip addr replace 10.0.0.\(number)/24 dev \(interface)
            ip -6 addr replace 2001:db8:0:100::\(number)/64 dev \(interface) nodad
            ip route replace default via 10.0.0.1 dev \(interface)
            ip -6 route replace default via fe80::1 dev \(interface)
            """)
    }
}
