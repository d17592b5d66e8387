// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: natfleet contributors

import AgentCore
import AgentNetlink
import Foundation
import NetAddress
import TestSupport
import Testing

/// Devices made by netlink, as ip(8) shows them.
@Suite(.enabled("needs root, iptables, conntrack and namespaces") { await Netns.canRun() })
struct LinksSerialTests {
    private let links = NetlinkLinks()
    private static let hardware: [UInt8] = [2, 0, 0, 0, 0, 7]

    @Test func aPairHasWhatItIsGiven() async throws {
        try await Netns.with { net in
            try await addPair(net)
            try await net.inside("router") { [links] in try links.setUp("pair") }
            try await net.inside("client") { [links] in
                try links.setUp("eth7")
                for address in ["10.9.0.3", "10.9.0.4", "2001:db8:9::3"] {
                    try links.add(try IPAddress(address), to: "eth7")
                }
                for family in IPFamily.allCases { try links.addDefaultRoute(family, by: "eth7") }
            }

            for (host, device) in [("router", "pair"), ("client", "eth7")] {
                let link = try await net.run(host, "ip link show dev \(device)")
                #expect(link.contains("NOARP,UP,LOWER_UP") && link.contains("link/ether 02:00:00:00:00:07"), "\(link)")
            }
            let addresses = try await net.run("client", "ip -brief address show dev eth7 | tr -s ' '")
            #expect(addresses.contains("UP 10.9.0.3/32 10.9.0.4/32 2001:db8:9::3/128 "), "\(addresses)")
            #expect(!(try await net.run("client", "ip -6 address show dev eth7")).contains("tentative"))
            let routes = try await net.run("client", "ip route show default; ip -6 route show default")
            #expect(routes.contains("default dev eth7 scope link"), "\(routes)")
            #expect(routes.components(separatedBy: "default dev eth7").count == 3, "\(routes)")

            try await net.inside("router") { [links] in try links.delete("pair") }
            #expect(try await net.run("client", "ip link show dev eth7 2>&1 ||:").contains("does not exist"))
        }
    }

    @Test func whatTheKernelRefusesSaysWhat() async throws {
        try await Netns.with { net in
            try await addPair(net)
            await #expect(throws: KernelError("adding the veth pair pair: File exists")) { try await addPair(net) }
            try await net.inside("router") { [links] in
                #expect(throws: KernelError("deleting nothing: No such device")) { try links.delete("nothing") }
                #expect(throws: KernelError.self) { try links.add(try IPAddress("10.9.0.3"), to: "nothing") }
                #expect(throws: KernelError.self) { try links.addDefaultRoute(.ipv4, by: "nothing") }
            }
        }
    }

    @Test func neighboursAreThoseWhoseHardwareAddressIsKnown() async throws {
        try await Netns.with { net in
            try await net.run(
                "router",
                """
                for place in "10.1.0.77 eth1" "2001:db8:1::77 eth1" "10.1.0.78 eth0"; do
                    set -- $place
                    ip neighbor add $1 lladdr 02:00:00:00:00:08 dev $2 nud stale
                done
                ip neighbor add 10.1.0.79 dev eth1 nud failed
                ip neighbor add 10.1.0.80 lladdr 02:00:00:00:00:08 dev eth1 nud noarp
                """)
            let seen = try await net.inside("router") { [links] in try links.neighbours(except: "eth0") }
            let expected = try ["10.1.0.77", "2001:db8:1::77"].map { try IPAddress($0) }
            #expect(seen.isSuperset(of: expected))
            #expect(seen.isDisjoint(with: try ["10.1.0.78", "10.1.0.79", "10.1.0.80"].map { try IPAddress($0) }))
            let all = try await net.inside("router") { [links] in try links.neighbours(except: "") }
            #expect(all.contains(try IPAddress("10.1.0.78")))
        }
    }

    private func addPair(_ net: Netns) async throws {
        let path = net.path("client")
        try await net.inside("router") { [links] in
            let namespace = try FileHandle(forReadingFrom: URL(fileURLWithPath: path))
            try links.addPair("pair", peer: "eth7", in: namespace.fileDescriptor, hardware: Self.hardware)
        }
    }
}
