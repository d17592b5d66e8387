// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: natfleet contributors

import AgentCore
import NATPolicy
import NetAddress
import Testing

/// Whose the addresses are that the probe may take, as tracked flows show.
struct AddressSightingsTests {
    private static let own = "10.0.1.250"
    private static let target = "198.51.100.7:443"

    private static func seen(_ flows: String..., asking isAsking: Bool = true) throws -> [String] {
        let target = ProbeTarget(address: try IPAddress("198.51.100.7"), port: 443)
        var sightings = AddressSightings(
            of: try [IPAddress(own), IPAddress("10.0.1.251")], asking: isAsking ? [target] : [])
        for flow in flows { sightings.see(try TrackedFlow(flow)) }
        return sightings.seen.sorted().map(\.description)
    }

    @Test func whatTheProbeSendsIsItsOwn() throws {
        let datagram = "udp \(Self.own):4000 192.0.2.1:9 192.0.2.1:9 10.0.0.11:4000"
        let connection = "tcp \(Self.own):4000 \(Self.target) \(Self.target) 10.0.0.11:4000"
        #expect(try Self.seen(datagram, connection) == [])
        #expect(try Self.seen(connection, asking: false) == [Self.own])
    }

    @Test func whoSendsOrIsSentToIsSeen() throws {
        #expect(try Self.seen("udp \(Self.own):4000 192.0.2.1:53 192.0.2.1:53 10.0.0.11:4000") == [Self.own])
        #expect(try Self.seen("tcp 10.0.1.10:4000 \(Self.own):9 \(Self.own):9 10.0.1.10:4000") == [Self.own])
        // The target of somebody's port forward.
        #expect(
            try Self.seen("tcp 198.51.100.9:4000 10.0.0.11:8001 \(Self.own):80 198.51.100.9:4000") == [Self.own])
        #expect(
            try Self.seen("udp \(Self.own):4000 10.0.1.251:9 10.0.1.251:9 \(Self.own):4000") == [
                Self.own, "10.0.1.251",
            ])
        #expect(try Self.seen("tcp 10.0.1.10:4000 \(Self.target) \(Self.target) 10.0.0.11:4000") == [])
    }
}
