// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: natfleet contributors

import AgentCore
import AgentNetlink
import Foundation
import NetAddress
import TestSupport
import Testing

/// What the kernel says of the legacy back end's tables.
@Suite(.enabled("needs root, iptables, conntrack and namespaces") { await Netns.canRun() })
struct LegacyTablesSerialTests {
    private struct Mark: Equatable {
        var outline: Int
        var contents: Int
    }

    private func mark(_ net: Netns) async throws -> Mark {
        try await net.inside("router") {
            var names: [IPFamily: [String]] = [:]
            for (family, file) in [(IPFamily.ipv4, "ip_tables_names"), (.ipv6, "ip6_tables_names")] {
                // Of this thread, not of the process.
                let text = try String(contentsOfFile: "/proc/thread-self/net/\(file)", encoding: .utf8)
                names[family] = text.split(separator: "\n").map(String.init)
            }
            let outline = try #require(legacyMark(names, contents: false)).outline
            let both = try #require(legacyMark(names, contents: true))
            #expect(both.outline == outline)
            return Mark(outline: outline, contents: try #require(both.contents))
        }
    }

    @Test func marksChangeWithRulesAndOnlyThen() async throws {
        try await Netns.with { net in
            let rule = "POSTROUTING -s 10.0.0.0/8 -m comment --comment"
            try await net.run(
                "router",
                """
                for i in iptables-legacy ip6tables-legacy; do $i -A INPUT -i lo -j ACCEPT; $i -t nat -A OUTPUT; done
                ip link set lo up
                iptables-legacy -t nat -A \(rule) one -j MASQUERADE
                iptables-legacy -A INPUT -m hashlimit --hashlimit-name x --hashlimit-upto 5/sec
                """)
            var last = try await mark(net)
            for quiet in [
                // Counters move, and state of a match.
                "ping -c 2 -i 0.01 127.0.0.1; ping -c 2 -i 0.01 ::1", "iptables-legacy-save; ip6tables-legacy-save",
                "iptables-nft -A INPUT -j ACCEPT", "unshare --net iptables-legacy -A INPUT -j ACCEPT",
            ] {
                try await net.run("router", quiet)
                #expect(try await mark(net) == last, "\(quiet)")
            }
            for (change, isOutlineSame) in [
                ("iptables-legacy -t nat -R POSTROUTING 1 -s 10.0.0.0/8 -m comment --comment two -j MASQUERADE", true),
                ("ip6tables-legacy -R INPUT 1 -i eth9 -j ACCEPT", true), ("iptables-legacy -P FORWARD DROP", true),
                ("ip6tables-legacy -t nat -F", false), ("iptables-legacy -t nat -N OTHER", false),
                ("iptables-legacy -t mangle -A FORWARD -j ACCEPT", false),
            ] {
                try await net.run("router", change)
                let now = try await mark(net)
                #expect(now.contents != last.contents, "\(change)")
                #expect((now.outline == last.outline) == isOutlineSame, "\(change)")
                last = now
            }
        }
    }
}
