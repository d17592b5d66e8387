// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: natfleet contributors

import AgentCore
import NetAddress
import Testing

@testable import AgentNetlink

/// Real flows through a router of namespaces.
@Suite(.enabled("needs root, iptables, conntrack and namespaces") { await Netns.canRun() })
struct ConntrackSerialTests {
    @Test func smoke() async throws {
        let net = try await Netns()
        try await net.run("router", "iptables-nft -A FORWARD -m conntrack --ctstate ESTABLISHED -j ACCEPT; ip6tables-nft -A FORWARD -m conntrack --ctstate ESTABLISHED -j ACCEPT")
        try await net.run("client", "ping -c 1 -W 2 198.51.100.7; ping -c 1 -W 2 2001:db8:2::7")
        let flows = try await net.inside("router") {
            var flows: [TrackedFlow] = []
            for family in IPFamily.allCases { try ConntrackTable().forEach(family) { flows.append($0) } }
            return flows
        }
        for flow in flows { print(flow) }
        let first = try #require(flows.first)
        let found = try await net.inside("router") { try ConntrackTable().lookup(first.original) }
        print(found as Any)
        let deleted = try await net.inside("router") { [try ConntrackTable().delete(first), try ConntrackTable().delete(first)] }
        print(deleted, try await net.inside("router") { rulesetGeneration() } as Any)
        print(rulesetGeneration() as Any)
        print(try await net.run("router", "conntrack -L; conntrack -L -f ipv6"))
    }
}
