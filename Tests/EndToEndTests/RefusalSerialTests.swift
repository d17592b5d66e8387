// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: natfleet contributors

import FleetModel
import TestSupport
import Testing

/// Policies that cannot be true on a host.
@Suite(.enabled("needs root and namespaces") { await FleetLab.isAvailable })
struct RefusalSerialTests {
    private static func egress(_ entry: String) -> String {
        Policies.egress(entry: entry, selector: "{instances: [nat-b]}")
    }

    @Test(arguments: [
        (
            #"interface: ens5, sources: [10.0.0.0/16, "2001:db8:0:100::/56"]"#,
            "egress/egress: this host has no interface ens5, only eth0"
        ),
        ("sources: vpc", "egress/egress: sources is vpc, and nobody told this host the CIDRs of its VPC"),
        ("families: [ipv4]", "egress/egress: sources is vpc, and nobody told this host the CIDRs of its VPC"),
    ])
    func whatTheHostDoesNotHaveIsRefusedWithTheReason(entry: String, reason: String) async throws {
        try await FleetLab.run { lab in
            let controller = try await lab.startController()
            let agent = try await lab.startAgent("nat-b")
            // Refused as the first policy, and in place of one that runs.
            for base in [nil, Self.egress(#"sources: [10.0.2.0/24, "2001:db8:0:102::/64"]"#)] {
                if let base {
                    try await lab.apply(base)
                    try await lab.converged("nat-b")
                }
                let before = try await lab.machine("nat-b")
                try await lab.apply(Self.egress(entry))
                try await expectRefusal(lab, reason)
                expectSame(before, try await lab.machine("nat-b"))
                if base != nil {
                    #expect(try await lab.ask("client-b", "tcp", "198.51.100.7", 80).hasPrefix("internet saw "))
                }
            }
            #expect(agent.output.split(separator: "\n").count { $0.contains("policy not applied") } == 2)

            try await lab.apply(Self.egress(#"interface: eth0, sources: [10.0.0.0/16, "2001:db8:0:100::/56"]"#))
            try await lab.converged("nat-b")
            try await expectEgress(lab)
            #expect(controller.isRunning)
        }
    }

    @Test func aFamilyWithoutARouteIsRefusedUntilTheRouteComes() async throws {
        try await FleetLab.run { lab in
            let controller = try await lab.startController()
            try await lab.shell("nat-b", "echo 0 >/proc/sys/net/ipv6/conf/eth0/accept_ra; ip -6 route del default")
            let agent = try await lab.startAgent("nat-b")
            let before = try await lab.machine("nat-b")
            let networks = #"sources: [10.0.0.0/16, "2001:db8:0:100::/56"]"#
            try await lab.apply(Self.egress("families: [ipv4, ipv6], \(networks)"))
            try await expectRefusal(lab, "egress/egress: this host has no IPv6 default route")
            expectSame(before, try await lab.machine("nat-b"))

            // Left to the host, the family is left out, and the host says so: not all runs that was asked for.
            try await lab.apply(Self.egress(networks))
            try await eventually(within: 30, "nat-b runs IPv4") {
                let instance = try await lab.instance("nat-b")
                return instance?.desiredHash != nil && instance?.status?.runningHash == instance?.desiredHash
            }
            let partly = try #require(try await lab.instance("nat-b"))
            #expect(partly.lastOutcome?.detail.contains("IPv6 left out") == true)
            #expect(partly.health == .degraded && partly.status?.conditions.map(\.code) == ["family-held-back"])
            #expect(try await lab.ask("client-b", "tcp", "198.51.100.7", 80).hasPrefix("internet saw 203.0.113.12"))

            // Demanded again, it is refused until the route is there, and then applied without a person.
            try await lab.apply(Self.egress("families: [ipv4, ipv6], \(networks)"))
            try await expectRefusal(lab, "egress/egress: this host has no IPv6 default route")
            try await lab.shell("nat-b", "ip -6 route add default via fe80::1 dev eth0")
            try await lab.converged("nat-b")
            try await expectEgress(lab)
            #expect(agent.isRunning && controller.isRunning)
        }
    }

    @Test func theNetworksOfTheVPCCanComeFromTheConfiguration() async throws {
        try await FleetLab.run { lab in
            let controller = try await lab.startController()
            let agent = try await lab.startAgent("nat-b", more: "NATFLEET_VPC_CIDRS=10.0.0.0/16,2001:db8:0:100::/56")
            try await lab.apply(Self.egress("sources: vpc"))
            try await lab.converged("nat-b")
            try await expectEgress(lab)
            let detail = try #require(try await lab.instance("nat-b")?.lastOutcome?.detail)
            #expect(detail.contains("sources vpc are 10.0.0.0/16"), "\(detail)")
            #expect(agent.isRunning && controller.isRunning)
        }
    }

    private func expectRefusal(_ lab: FleetLab, _ reason: String) async throws {
        try await eventually(within: 20, "nat-b refuses") {
            let instance = try await lab.instance("nat-b")
            return instance?.lastOutcome?.hash == instance?.desiredHash && instance?.lastOutcome?.result == .refused
        }
        let instance = try #require(try await lab.instance("nat-b"))
        #expect(instance.health == .degraded && instance.status?.phase == .refused)
        #expect(instance.status?.conditions.contains { $0.code == "policy-refused" } == true)
        #expect(instance.lastOutcome?.detail.hasPrefix(reason) == true, "\(String(describing: instance.lastOutcome))")
        let described = try await lab.natfleet("describe", "instance", "nat-b").output
        #expect(described.contains(reason) && described.contains("fix: "), "\(described)")
        #expect(try await lab.natfleet("get", "instances").output.contains("refused"))
    }

    private func expectEgress(_ lab: FleetLab) async throws {
        #expect(try await lab.ask("client-b", "tcp", "198.51.100.7", 80).hasPrefix("internet saw 203.0.113.12 "))
        let six = try await lab.ask("client-b", "tcp", "2001:db8:ffff::7", 80)
        #expect(six.hasPrefix("internet saw 2001:db8:0:100::12 "), "\(six)")
    }
}

extension FleetLab {
    /// Everything of a machine that natfleet changes: rules, counters aside, and sysctls. Not the built-in chains that
    /// accept all, which iptables makes at first use and cannot take away, nor the probe's interface, which comes and goes.
    func machine(_ instance: String) async throws -> String {
        let rules = try await allRules(instance).split(separator: "\n").filter { line in
            !line.contains(/^(\*[a-z]+|:[A-Z]+ ACCEPT \[\]|COMMIT)$/)
        }
        return try await rules.joined(separator: "\n")
            + shell(
                instance,
                "sysctl -a 2>/dev/null | grep -E 'forward|redirects|rp_filter|accept_ra ' | grep -v natfleet-probe")
    }
}
