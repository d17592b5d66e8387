// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: natfleet contributors

import FleetModel
import NetAddress
import TestSupport
import Testing

/// What the host loses shows within seconds, and goes without a restart when it is back.
@Suite(.enabled("needs root and namespaces") { await FleetLab.isAvailable })
struct ConditionsSerialTests {
    @Test func lostFactsShowAndGo() async throws {
        try await FleetLab.run { lab in
            let controller = try await lab.startController()
            let agent = try await lab.startAgent("nat-a")
            try await lab.apply(Policies.egress)
            try await lab.converged("nat-a")
            let rules = try await lab.shell("nat-a", "iptables-save; ip6tables-save")

            // Without router advertisements, which bring the IPv6 route back.
            let block = "INPUT -p icmpv6 --icmpv6-type router-advertisement -j DROP"
            for (lose, regain, code, family) in [
                ("ip route del default", "ip route add default via 10.0.0.1", "ipv4-route-lost", IPFamily.ipv4),
                (
                    "ip6tables -A \(block); ip -6 route flush default", "ip6tables -D \(block)", "ipv6-route-lost",
                    .ipv6
                ),
                (
                    "ip address del 2001:db8:0:100::11/64 dev eth0",
                    "ip address add 2001:db8:0:100::11/64 dev eth0 nodad", "outside-address-missing", .ipv6
                ),
            ] {
                try await lab.shell("nat-a", lose)
                var last: Instance?
                try await eventually(within: 30, "\(code) shows: \(String(describing: last?.status?.conditions))") {
                    last = try await lab.instance("nat-a")
                    return last?.status?.conditions.map(\.code) == [code]
                }
                #expect(last?.health == .degraded && last?.status?.conditions.first?.family == family)
                try await lab.shell("nat-a", regain)
                try await eventually(within: 30, "\(code) goes: \(String(describing: last?.status?.conditions))") {
                    last = try await lab.instance("nat-a")
                    return last?.health == .healthy && last?.status?.conditions.isEmpty == true
                }
            }
            #expect(plain(try await lab.shell("nat-a", "iptables-save; ip6tables-save")) == plain(rules))
            try await expectMissingInterface(lab)
            #expect(agent.isRunning && controller.isRunning)
        }
    }

    /// The only one: the controller hears nothing, whoever is logged in does.
    private func expectMissingInterface(_ lab: FleetLab) async throws {
        try await lab.shell("nat-a", "ip netns add attic; ip link set eth0 netns attic")
        var told = ""
        try await eventually(within: 15, "it is told on the instance: \(told)") {
            told = try await lab.exec("nat-a", FleetLab.binaries + "/natfleet-agent", "status").output
            return told.contains("critical outside-interface-missing: interface eth0 is gone")
        }
        try await lab.shell(
            "nat-a",
            """
            ip -n attic link set eth0 netns $$
            ip link set eth0 up
            ip addr add 10.0.0.11/24 dev eth0
            ip addr add 2001:db8:0:100::11/64 dev eth0 nodad
            ip route add default via 10.0.0.1
            """)
        try await lab.converged("nat-a")
    }

    /// Without remarks, which have the time, and counters.
    private func plain(_ rules: String) -> [String] {
        rules.split(separator: "\n").filter { !$0.hasPrefix("#") }.map { String($0.prefix { $0 != "[" }) }
    }
}
