// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: natfleet contributors

import AgentCore
import AgentNetlink
import NATPolicy
import NetAddress
import Netfilter
import TestSupport
import Testing

/// Connection tracking as the kernel has it, with real flows through a router of namespaces.
@Suite(.enabled("needs root, iptables, conntrack and namespaces") { await Netns.canRun() })
struct ConntrackSerialTests {
    private let table = ConntrackTable()

    private func flows(_ net: Netns, _ family: IPFamily) async throws -> [TrackedFlow] {
        try await net.inside("router") { [table] in
            var flows: [TrackedFlow] = []
            try table.forEach { if $0.family == family { flows.append($0) } }
            return flows
        }
    }

    private func tuple(
        _ source: String, _ destination: String, _ number: UInt8, _ detail: FlowTuple.Detail
    ) throws -> FlowTuple {
        FlowTuple(
            source: try IPAddress(source), destination: try IPAddress(destination), protocolNumber: number,
            detail: detail)
    }

    @Test func flowsAreReadAsTheyAre() async throws {
        try await Netns.with { net in
            try await net.begin("client", .udp, from: "10.1.0.10:4000", to: "198.51.100.7:53")
            try await net.begin("client", .tcp, from: "[2001:db8:1::10]:4001", to: "[2001:db8:2::7]:443")
            try await net.run("client", "ping -q -c 1 -W 2 198.51.100.7; ping -q -c 1 -W 2 2001:db8:2::7")

            let ipv4 = try await flows(net, .ipv4)
            #expect(ipv4.count == 2)
            let udp = try #require(ipv4.first { $0.original.protocolNumber == 17 })
            let sent = try tuple("10.1.0.10", "198.51.100.7", 17, .ports(source: 4000, destination: 53))
            #expect(udp.original == sent)
            #expect(udp.reply == (try tuple("198.51.100.7", "10.1.0.10", 17, .ports(source: 53, destination: 4000))))
            #expect(udp.zone == 0 && !udp.isInAnyZone)
            #expect((1...30).contains(udp.timeout))
            #expect(!udp.status.contains(.seenReply) && !udp.isSourceTranslated)
            #expect(udp.id != 0)
            let echo = try #require(ipv4.first { $0.original.protocolNumber == 1 })
            guard case .icmp(8, 0, let id) = echo.original.detail else {
                Issue.record("no echo: \(echo)")
                return
            }
            #expect(echo.reply.detail == .icmp(type: 0, code: 0, id: id))
            #expect(echo.status.contains(.seenReply))

            let ipv6 = try await flows(net, .ipv6)
            #expect(Set(ipv6.map(\.original.protocolNumber)) == [6, 58])
            let tcp = try #require(ipv6.first { $0.original.protocolNumber == 6 })
            #expect(tcp.original.source == (try IPAddress("2001:db8:1::10")))
            #expect(tcp.original.detail == .ports(source: 4001, destination: 443))

            for flow in ipv4 + ipv6 {
                let found = try #require(try await net.inside("router") { try table.lookup(flow.original) })
                #expect((found.original, found.reply, found.id) == (flow.original, flow.reply, flow.id))
            }
            var other = sent
            other.detail = .ports(source: 4000, destination: 54)
            let absent = other
            #expect(try await net.inside("router") { try table.lookup(absent) } == nil)
            #expect(try await net.inside("server") { try table.lookup(sent) } == nil)
        }
    }

    @Test func oneFlowIsDeletedByTupleAndIdAndNoOther() async throws {
        try await Netns.with { net in
            let ports = 4000..<4005
            for port in ports {
                try await net.begin("client", .udp, from: "10.1.0.10:\(port)", to: "198.51.100.7:53")
            }
            try await net.run("client", "ping -q -c 1 -W 2 2001:db8:2::7")
            let tuple = try tuple("10.1.0.10", "198.51.100.7", 17, .ports(source: 4002, destination: 53))
            let flow = try #require(try await net.inside("router") { try table.lookup(tuple) })
            let deleted = try await net.inside("router") { [try table.delete(flow), try table.delete(flow)] }
            #expect(deleted == [true, false])
            #expect(try await flows(net, .ipv4).compactMap(\.original.sourcePort).sorted() == [4000, 4001, 4003, 4004])

            // The same tuple once more is another flow. The id is made from where the entry is in memory, so another
            // one has to take that first.
            var again = flow
            for other in 5000..<5050 where again.id == flow.id {
                let last = again
                try await net.inside("router") { _ = try table.delete(last) }
                try await net.begin("client", .udp, from: "10.1.0.10:\(other)", to: "198.51.100.7:53")
                try await net.begin("client", .udp, from: "10.1.0.10:4002", to: "198.51.100.7:53")
                again = try #require(try await net.inside("router") { try table.lookup(tuple) })
            }
            #expect(again.id != flow.id)
            let count = try await flows(net, .ipv4).count
            #expect(try await net.inside("router") { try table.delete(flow) } == false)
            #expect(try await net.inside("router") { try table.lookup(tuple) } != nil)

            let echo = try #require(try await flows(net, .ipv6).first)
            #expect(try await net.inside("router") { try table.delete(echo) })
            #expect(try await flows(net, .ipv6).isEmpty)
            #expect(try await flows(net, .ipv4).count == count)
        }
    }

    @Test func zonesAreToldApart() async throws {
        try await Netns.with { net in
            try await net.run("router", "iptables-nft -t raw -A PREROUTING -p udp --dport 53 -j CT --zone 7")
            try await net.run("router", "iptables-nft -t raw -A PREROUTING -p udp --dport 54 -j CT --zone-orig 8")
            for port in [53, 54, 55] {
                try await net.begin("client", .udp, from: "10.1.0.10:4000", to: "198.51.100.7:\(port)")
            }
            let found = try await flows(net, .ipv4).sorted {
                ($0.original.destinationPort ?? 0) < ($1.original.destinationPort ?? 0)
            }
            #expect(found.map(\.zone) == [7, 0, 0])
            #expect(found.map(\.originalZone) == [0, 8, 0])
            #expect(found.map(\.isInAnyZone) == [true, true, false])
            let deleted = try await net.inside("router") { try found.map { try table.delete($0) } }
            #expect(deleted == [true, true, true])
        }
    }

    /// Several reads, and deleting while reading.
    @Test func aLongTableIsSwept() async throws {
        try await Netns.with { net in
            try await net.run(
                "client", "for port in {10000..11999}; do echo > /dev/udp/198.51.100.7/$port; done 2>/dev/null || true")
            let count = try await flows(net, .ipv4).count
            #expect(count >= 2000)
            let swept = try await net.inside("router") {
                try table.sweep { $0.family == .ipv4 && ($0.original.destinationPort ?? 0) % 2 == 0 }
            }
            #expect(swept == 1000)
            #expect(try await flows(net, .ipv4).allSatisfy { ($0.original.destinationPort ?? 0) % 2 == 1 })
            #expect(try await flows(net, .ipv4).count == count - 1000)
        }
    }

    @Test func usageAndCountersAreTheKernels() async throws {
        try await Netns.with { net in
            try await net.run(
                "router", "iptables-nft -t nat -A POSTROUTING -o eth0 -p udp -j SNAT --to-source 198.51.100.1:2000-2000"
            )
            let before = try #require(try await net.inside("router") { conntrackUsage() })
            #expect((before.count, before.counters) == (0, ConntrackCounters()))
            #expect(before.max > 0 && before.buckets > 0)
            // Both want the one port there is.
            try await net.begin("client", .udp, from: "10.1.0.10:4000", to: "198.51.100.7:53")
            try await net.begin("client", .udp, from: "10.1.0.10:4001", to: "198.51.100.7:53")
            let after = try #require(try await net.inside("router") { conntrackUsage() })
            #expect(after.count == 1)
            #expect(after.counters == ConntrackCounters(insertFailed: 1, dropped: 1))
        }
    }
}
