// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: natfleet contributors

import NATPolicy
import NetAddress
import Netfilter
import TestSupport
import Testing

/// Hosts and policies that the compile tests share.
enum CompileFixtures {
    /// The seed's machine: one interface, private clients turned round by the VPC's router.
    static func single(vpc: [String] = []) throws -> HostFacts {
        HostFacts(
            interfaces: [
                .init(
                    name: "eth0",
                    addresses: [
                        .init(try IPAddress("10.0.0.1"), prefixLength: 24),
                        .init(try IPAddress("10.0.0.77"), prefixLength: 24),
                        .init(try IPAddress("fe80::1"), prefixLength: 64),
                        .init(try IPAddress("2001:db8:0:1::1"), prefixLength: 64),
                    ]),
                .init(name: "docker0", addresses: [.init(try IPAddress("172.17.0.1"), prefixLength: 16)]),
            ],
            routes: [
                .init(destination: .everything(.ipv4), interface: "eth0", gateway: try IPAddress("10.0.0.254")),
                .init(destination: try CIDR("10.0.0.0/24"), interface: "eth0"),
                .init(destination: try CIDR("172.17.0.0/16"), interface: "docker0"),
                .init(destination: .everything(.ipv6), interface: "eth0", gateway: try IPAddress("fe80::fe")),
                .init(destination: try CIDR("2001:db8:0:1::/64"), interface: "eth0"),
            ],
            iptables: .init(backend: .nft, version: "1.8.9"),
            vpcCIDRs: try vpc.map { try CIDR($0) },
            publicAddresses: [.init(public: try IPAddress("203.0.113.10"), private: try IPAddress("10.0.0.1"))],
            controller: [try Endpoint("10.0.9.9:8443")]
        )
    }

    /// An outside interface eth0 and an inside one, eth1.
    static func double(vpc: [String] = []) throws -> HostFacts {
        var facts = try single(vpc: vpc)
        facts.interfaces.append(
            .init(
                name: "eth1",
                addresses: [
                    .init(try IPAddress("10.0.2.1"), prefixLength: 24),
                    .init(try IPAddress("2001:db8:0:2::ff"), prefixLength: 64),
                ]))
        facts.routes += [
            .init(destination: try CIDR("10.0.2.0/24"), interface: "eth1"),
            .init(destination: try CIDR("10.0.1.0/24"), interface: "eth1", gateway: try IPAddress("10.0.2.254")),
            .init(destination: try CIDR("192.168.7.0/24"), interface: "eth1", gateway: try IPAddress("10.0.2.254")),
            .init(destination: try CIDR("2001:db8:0:2::/64"), interface: "eth1"),
            .init(
                destination: try CIDR("2001:db8:77::/64"), interface: "eth1", gateway: try IPAddress("2001:db8:0:2::fe")
            ),
        ]
        return facts
    }

    static func networks(_ texts: String...) throws -> SourceChoice { .networks(try texts.map { try CIDR($0) }) }

    static func forward(
        _ name: String = "PortMapping", _ port: String = "8001", to target: String = "10.0.1.1:80",
        _ transport: TransportProtocol = .tcp, destination: DestinationChoice = .instance, sources: [String] = [],
        masquerade: Bool = false, hairpin: Bool = false
    ) throws -> PortForward {
        PortForward(
            name: name, protocol: transport, destination: destination, port: try PortRange(port),
            to: try Endpoint(target), sources: try sources.map { try CIDR($0) }, masquerade: masquerade,
            hairpin: hairpin)
    }

    static func policy(
        _ masquerade: [Masquerade] = [], _ dnat: [PortForward] = [],
        forwarding: Forwarding = Forwarding(ipv4: true, ipv6: true), guard: Bool = true
    ) -> EffectivePolicy {
        EffectivePolicy(
            layers: [.init(policy: "web", revision: 1)],
            forwarding: forwarding,
            masquerade: masquerade.map { .init(policy: "web", entry: $0) },
            dnat: dnat.map { .init(policy: "web", entry: $0) },
            guard: `guard`)
    }

    /// What `seed/` does by hand, with the sources that it leaves to the routing.
    static func seed() throws -> EffectivePolicy {
        policy(
            [
                Masquerade(
                    name: "egress", families: [.ipv4, .ipv6], sources: try networks("10.0.0.0/16", "2001:db8:0:2::/64"),
                    except: [try CIDR("10.0.0.0/8")])
            ],
            [
                try forward(),
                try forward("PortMapping6", to: "[2001:db8:0:2::1]:80"),
            ])
    }

    /// All rules of a policy on a host as text, IPv4 first.
    static func text(_ policy: EffectivePolicy, on facts: HostFacts) throws -> String {
        let compiled = try compile(policy, on: facts)
        return IPFamily.allCases.map { "# \($0.label)\n\(renderRestore(compiled.ruleset[$0]))" }.joined()
    }
}
