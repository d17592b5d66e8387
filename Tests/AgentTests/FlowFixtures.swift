// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: natfleet contributors

import AgentCore
import NATPolicy
import NetAddress
import Testing

/// Hosts, policies and flows of the sweep's tests.
enum FlowFixtures {
    /// eth0 only: clients come in and leave by it.
    static func single() throws -> HostFacts {
        HostFacts(
            interfaces: [
                .init(
                    name: "eth0",
                    addresses: [
                        .init(try IPAddress("10.0.0.11"), prefixLength: 24),
                        .init(try IPAddress("fe80::11"), prefixLength: 64),
                        .init(try IPAddress("2001:db8:0:100::11"), prefixLength: 64),
                    ])
            ],
            routes: [
                .init(destination: .everything(.ipv4), interface: "eth0", gateway: try IPAddress("10.0.0.1")),
                .init(destination: .everything(.ipv6), interface: "eth0", gateway: try IPAddress("fe80::1")),
            ],
            iptables: .init(backend: .nft, version: "1.8.9"),
            vpcCIDRs: [try CIDR("10.0.0.0/16"), try CIDR("2001:db8:0:100::/56")]
        )
    }

    /// Clients behind eth1.
    static func double() throws -> HostFacts {
        var facts = try single()
        facts.interfaces.append(
            .init(
                name: "eth1",
                addresses: [
                    .init(try IPAddress("10.0.9.13"), prefixLength: 24),
                    .init(try IPAddress("2001:db8:0:109::13"), prefixLength: 64),
                ]))
        facts.routes += [
            .init(destination: try CIDR("10.0.1.0/24"), interface: "eth1", gateway: try IPAddress("10.0.9.1")),
            .init(
                destination: try CIDR("2001:db8:0:101::/64"), interface: "eth1", gateway: try IPAddress("fe80::9:1")),
        ]
        return facts
    }

    static func policy(_ masquerade: [Masquerade] = [], _ dnat: [PortForward] = []) -> EffectivePolicy {
        EffectivePolicy(
            layers: [.init(policy: "web", revision: 1)],
            forwarding: Forwarding(ipv4: true, ipv6: true),
            masquerade: masquerade.map { .init(policy: "web", entry: $0) },
            dnat: dnat.map { .init(policy: "web", entry: $0) })
    }

    static func egress(_ sources: SourceChoice = .vpc, except: String...) throws -> Masquerade {
        Masquerade(
            name: "egress", families: [.ipv4, .ipv6], sources: sources, except: try except.map { try CIDR($0) })
    }

    /// The flows of a probe on `single`, whose clients have the addresses 10.0.0.3 and 2001:db8:0:100::3.
    static func probe(asking targets: String...) throws -> ProbeFlows {
        var policy = policy([try egress()])
        policy.probes = try targets.map { try ProbeTarget($0) }
        let facts = try single()
        return ProbeFlows(ProbePlan(try compile(policy, on: facts), of: policy, on: facts))
    }

    static func forward(
        _ port: String = "8001", to target: String = "10.0.1.80:80", _ transport: TransportProtocol = .tcp,
        name: String = "PortMapping", sources: [String] = [], masquerade: Bool = false, hairpin: Bool = false
    ) throws -> PortForward {
        let (port, to) = (try PortRange(port), try Endpoint(target))
        return PortForward(
            name: name, protocol: transport, port: port,
            to: Endpoint(to.address, ports: try #require(to.ports.widened(to: port.count))),
            sources: try sources.map { try CIDR($0) }, masquerade: masquerade, hairpin: hairpin)
    }

    static func sweep(
        from before: EffectivePolicy, to after: EffectivePolicy, on facts: HostFacts, draining: Set<String> = []
    ) throws -> FlowSweep {
        FlowSweep(
            from: try compile(before, on: facts).ruleset, to: try compile(after, on: facts).ruleset, facts: facts,
            draining: draining)
    }
}

struct UnreadableFlow: Error {
    let text: String
}

extension TrackedFlow {
    /// `tcp 10.0.1.10:4000 198.51.100.7:443`, and where it was translated the answer's source and destination as well;
    /// `icmp 10.0.1.10 198.51.100.7` for echoes.
    init(_ text: String) throws {
        let words = text.split(separator: " ").map(String.init)
        guard words.count == 3 || words.count == 5 else { throw UnreadableFlow(text: text) }
        var ends = try words.dropFirst().map { try TrackedFlow.end($0) }
        if ends.count == 2 { ends += [ends[1], ends[0]] }
        self.init(
            original: try TrackedFlow.tuple(words[0], ends[0], ends[1], isReply: false),
            reply: try TrackedFlow.tuple(words[0], ends[2], ends[3], isReply: true),
            status: [.seenReply, .assured])
    }

    private static func end(_ text: String) throws -> (IPAddress, UInt16?) {
        if let address = try? IPAddress(text) { return (address, nil) }
        let endpoint = try Endpoint(text)
        return (endpoint.address, endpoint.ports.first)
    }

    private static func tuple(
        _ name: String, _ source: (IPAddress, UInt16?), _ destination: (IPAddress, UInt16?), isReply: Bool
    ) throws -> FlowTuple {
        let numbers: [String: UInt8] = ["tcp": 6, "udp": 17, "icmp": source.0.family == .ipv4 ? 1 : 58, "gre": 47]
        guard let number = numbers[name] else { throw UnreadableFlow(text: name) }
        let detail: FlowTuple.Detail
        switch (name, source.1, destination.1) {
        case ("icmp", _, _):
            let types: (UInt8, UInt8) = source.0.family == .ipv4 ? (8, 0) : (128, 129)
            detail = .icmp(type: isReply ? types.1 : types.0, code: 0, id: 7)
        case (_, let from?, let to?): detail = .ports(source: from, destination: to)
        default: detail = .none
        }
        return FlowTuple(
            source: source.0, destination: destination.0, protocolNumber: number, detail: detail)
    }
}
