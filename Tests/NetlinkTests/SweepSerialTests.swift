// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: natfleet contributors

import AgentCore
import AgentNetlink
import NATPolicy
import NetAddress
import Netfilter
import TestSupport
import Testing

/// What FlowSweep decides, done to flows of the kernel under rules of the compiler.
@Suite(.enabled("needs root, iptables, conntrack and namespaces") { await Netns.canRun() })
struct SweepSerialTests {
    private let table = ConntrackTable()

    private func policy(_ masquerade: Bool, _ dnat: [PortForward] = []) throws -> Ruleset {
        let egress = Masquerade(
            name: "egress", sources: .networks([try CIDR("10.1.0.0/24"), try CIDR("2001:db8:1::/64")]),
            except: [try CIDR("192.0.2.0/24"), try CIDR("2001:db8:99::/64")], randomFully: false)
        let policy = EffectivePolicy(
            layers: [.init(policy: "web", revision: 1)],
            forwarding: Forwarding(ipv4: true, ipv6: true),
            masquerade: masquerade ? [.init(policy: "web", entry: egress)] : [],
            dnat: dnat.map { .init(policy: "web", entry: $0) },
            guard: false)
        return try compile(policy, on: Netns.facts()).ruleset
    }

    private func forward(_ port: String, to target: String, _ transport: TransportProtocol = .udp) throws -> PortForward
    {
        PortForward(
            name: "forward-\(port)", protocol: transport, port: try PortRange(port), to: try Endpoint(target))
    }

    /// As an agent does it.
    private func sweep(_ net: Netns, from before: Ruleset, to after: Ruleset) async throws -> Int {
        let facts = try Netns.facts()
        return try await net.inside("router") { [table] in
            let sweep = FlowSweep(from: before, to: after, facts: facts, ownAddresses: try ownAddresses())
            return try table.sweep { sweep.fault(of: $0) != nil }
        }
    }

    /// Original source ports, and whom the other end sees.
    private func ports(_ net: Netns, _ family: IPFamily) async throws -> [UInt16: String] {
        try await net.inside("router") { [table] in
            var ports: [UInt16: String] = [:]
            try table.forEach { flow in
                if flow.family == family, let port = flow.original.sourcePort {
                    ports[port] = "\(flow.reply.destination)"
                }
            }
            return ports
        }
    }

    @Test(arguments: [
        (IPFamily.ipv4, "10.1.0.10", "198.51.100.7", "198.51.100.1", "192.0.2.7"),
        (.ipv6, "[2001:db8:1::10]", "[2001:db8:2::7]", "[2001:db8:2::1]", "[2001:db8:99::7]"),
    ])
    func untranslatedFlowsHealAndNothingElseEnds(
        family: IPFamily, client: String, server: String, router: String, excepted: String
    ) async throws {
        try await Netns.with { net in
            let (before, after) = (try policy(false), try policy(true))
            try await net.load(from: Ruleset(), to: before)
            // Before there are rules: out, to the router itself, to an exception.
            try await net.begin("client", .udp, from: "\(client):4000", to: "\(server):53")
            try await net.begin("client", .tcp, from: "\(client):4001", to: "\(server):443")
            try await net.begin("client", .udp, from: "\(client):4002", to: "\(router):53")
            try await net.begin("client", .udp, from: "\(client):4003", to: "\(excepted):53")
            try await net.begin("router", .udp, from: "\(router):4004", to: "\(server):53")
            try await net.load(from: before, to: after)
            try await net.begin("client", .udp, from: "\(client):4005", to: "\(server):53")
            let bare = { (text: String) in text.filter { $0 != "[" && $0 != "]" } }
            let (inside, outside) = (bare(client), bare(router))
            // The entries of before stay untranslated for life.
            try await net.begin("client", .udp, from: "\(client):4000", to: "\(server):53")
            #expect(
                try await ports(net, family) == [
                    4000: inside, 4001: inside, 4002: inside, 4003: inside, 4004: outside, 4005: outside,
                ])

            #expect(try await sweep(net, from: before, to: after) == 2)
            #expect(try await ports(net, family) == [4002: inside, 4003: inside, 4004: outside, 4005: outside])
            try await net.begin("client", .udp, from: "\(client):4000", to: "\(server):53")
            #expect(try await ports(net, family)[4000] == outside)
            #expect(try await sweep(net, from: after, to: after) == 0)
        }
    }

    @Test func flowsOfChangedForwardsMoveAndOthersStay() async throws {
        try await Netns.with { net in
            let before = try policy(
                true,
                [
                    try forward("8001", to: "10.1.0.10:53"), try forward("8002", to: "10.1.0.10:53"),
                    try forward("8003", to: "10.1.0.10:80", .tcp), try forward("8000-8000", to: "10.1.0.10:53"),
                ])
            let after = try policy(
                true,
                [
                    try forward("8001", to: "10.1.0.10:5353"), try forward("8002", to: "10.1.0.10:53"),
                    try forward("8000-8000", to: "10.1.0.10:53"),
                ])
            try await net.load(from: Ruleset(), to: before)
            // Somebody else's, which looks like one of ours.
            try await net.run(
                "router", "iptables-nft -t nat -A PREROUTING -p udp --dport 9000 -j DNAT --to 10.1.0.10:53")
            for port in [8000, 8001, 8002, 9000] {
                try await net.begin("server", .udp, from: "198.51.100.7:\(port + 40000)", to: "198.51.100.1:\(port)")
            }
            try await net.begin("server", .tcp, from: "198.51.100.7:48003", to: "198.51.100.1:8003")
            #expect(try await ports(net, .ipv4).keys.sorted() == [48000, 48001, 48002, 48003, 49000])
            try await net.load(from: before, to: after)
            #expect(try await sweep(net, from: before, to: after) == 2)
            #expect(try await ports(net, .ipv4).keys.sorted() == [48000, 48002, 49000])
            // The next packet goes to the new target.
            try await net.begin("server", .udp, from: "198.51.100.7:48001", to: "198.51.100.1:8001")
            let text = try await net.run("router", "conntrack -L -p udp --orig-port-dst 8001 2>/dev/null")
            #expect(text.contains("src=10.1.0.10 dst=198.51.100.7 sport=5353"))
            #expect(try await sweep(net, from: after, to: after) == 0)
        }
    }
}
