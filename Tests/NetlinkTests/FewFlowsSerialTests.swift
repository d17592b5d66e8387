// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: natfleet contributors

import AgentCore
import Foundation
import NetAddress
import TestSupport
import Testing

@testable import AgentNetlink

/// A short table is read from the kernel's file, and says the same as the dump.
@Suite(.enabled("needs root, iptables, conntrack and namespaces") { await Netns.canRun() })
struct FewFlowsSerialTests {
    /// CONFIG_NF_CONNTRACK_PROCFS; once anything was tracked.
    private var hasFile: Bool { FileManager.default.fileExists(atPath: "/proc/self/net/nf_conntrack") }

    private func look(
        _ net: Netns, pages: Int = 1
    ) async throws -> (few: [FlowTuple]?, shown: Set<TrackedFlow>, dumped: Set<TrackedFlow>) {
        try await net.inside("router") {
            var (shown, dumped): ([TrackedFlow], [TrackedFlow]) = ([], [])
            let few = fewFlows(pages: pages)
            try ConntrackTable().forEach { shown.append($0.still) }
            try ConntrackTable().dump { dumped.append($0.still) }
            return (few, Set(shown), Set(dumped))
        }
    }

    @Test func aShortTableSaysTheSame() async throws {
        try await Netns.with { net in
            let nothing = try await look(net)
            #expect((nothing.few ?? []).isEmpty && nothing.shown.isEmpty)
            try await net.begin("client", .udp, from: "10.1.0.10:4000", to: "198.51.100.7:53")
            try await net.begin("client", .tcp, from: "[2001:db8:1::10]:4001", to: "[2001:db8:2::7]:443")
            try await net.run("client", "ping -q -c 1 -W 2 198.51.100.7; ping -q -c 1 -W 2 2001:db8:2::7")
            let found = try await look(net)
            #expect(found.dumped.count == 4 && found.shown == found.dumped)
            #expect(found.few.map(Set.init) == (hasFile ? Set(found.dumped.map(\.original)) : nil))
        }
    }

    @Test func aLongOneAndZonesAreDumped() async throws {
        try await Netns.with { net in
            try await net.run("router", "iptables-nft -t raw -A PREROUTING -p udp --dport 54 -j CT --zone-orig 8")
            try await net.begin("client", .udp, from: "10.1.0.10:4000", to: "198.51.100.7:54")
            let zone = try await look(net)
            #expect(zone.few == nil && zone.dumped.count == 1 && zone.shown == zone.dumped)
            try await net.run("router", "conntrack -D -p udp >/dev/null 2>&1")
            try await net.run(
                "client", "for port in {10000..10099}; do echo > /dev/udp/198.51.100.7/$port; done 2>/dev/null || true")
            let many = try await look(net)
            #expect(many.few == nil && many.dumped.count >= 100 && many.shown == many.dumped)
            #expect(try await look(net, pages: 2).few == nil)
            let pages = try await look(net, pages: 16).few.map(Set.init)
            #expect(pages == (hasFile ? Set(many.dumped.map(\.original)) : nil))
            try await net.run(
                "client", "for port in {11000..11999}; do echo > /dev/udp/198.51.100.7/$port; done 2>/dev/null || true")
            let more = try await look(net, pages: 16)
            #expect(more.few == nil && more.dumped.count >= 1100 && more.shown == more.dumped)
        }
    }

    @Test func whatIsNotUnderstoodIsNotGuessed() throws {
        let tcp =
            "ipv4     2 tcp      6 431999 ESTABLISHED src=10.0.1.10 dst=198.51.100.7 sport=40000 dport=443 "
            + "src=198.51.100.7 dst=10.0.0.11 sport=443 dport=40000 [ASSURED] mark=0 zone=0 use=2\n"
        let tuple = FlowTuple(
            source: try IPAddress("10.0.1.10"), destination: try IPAddress("198.51.100.7"), protocolNumber: 6,
            detail: .ports(source: 40000, destination: 443))
        #expect(flowTuples(in: tcp) == [tuple])
        #expect(flowTuples(in: "") == [])
        for line in [
            tcp.replacing("zone=0", with: "zone=3"), tcp.replacing("src=10.0.1.10", with: "src=10.0.1.10 zone-orig=8"),
            tcp.replacing("sport", with: "srckey"), tcp.replacing("10.0.1.10 ", with: "10.0.1 "), "ipv4 2 tcp\n",
            tcp.replacing("sport=40000", with: "sport=70000"),
        ] {
            #expect(flowTuples(in: tcp + line) == nil, "\(line)")
        }
    }
}

extension TrackedFlow {
    /// Without what changes by itself.
    fileprivate var still: TrackedFlow {
        var flow = self
        flow.timeout = 0
        return flow
    }
}
