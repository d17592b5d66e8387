// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: natfleet contributors

import AgentCore
import NATPolicy
import NetAddress
import Testing

@testable import AgentDataplane

struct FactsTests {
    @Test func readsAddressesInAStableOrder() throws {
        let interfaces = try FactGatherer.interfaces(
            """
            [{"ifname":"lo","flags":["LOOPBACK","UP"],"addr_info":[
               {"family":"inet","local":"127.0.0.1","prefixlen":8,"scope":"host"}]},
             {"ifname":"eth0","flags":["UP"],"addr_info":[
               {"family":"inet","local":"10.0.0.11","prefixlen":24,"scope":"global"},
               {"family":"inet","local":"10.0.0.12","prefixlen":24,"scope":"global","secondary":true},
               {"family":"inet6","local":"2001:db8::b","prefixlen":64,"scope":"global"},
               {"family":"inet6","local":"2001:db8::c","prefixlen":64,"scope":"global","temporary":true},
               {"family":"inet6","local":"2001:db8::a","prefixlen":128,"scope":"global"},
               {"family":"inet6","local":"fe80::1","prefixlen":64,"scope":"link"}]},
             {"ifname":"natfleet-probe","flags":["NOARP","UP"],"addr_info":[]}]
            """)
        #expect(interfaces.map(\.name) == ["eth0"])
        // ip(8) lists the newest IPv6 address of a scope first.
        #expect(
            interfaces[0].addresses.map(\.address.description)
                == ["10.0.0.11", "10.0.0.12", "fe80::1", "2001:db8::a", "2001:db8::b"])
    }

    @Test func prefersTheRouteOfLowestMetric() throws {
        let routes = try FactGatherer.routes(
            """
            [{"dst":"default","gateway":"10.0.1.1","dev":"eth1","metric":200},
             {"dst":"default","gateway":"10.0.0.1","dev":"eth0","metric":100},
             {"type":"blackhole","dst":"192.0.2.0/24","dev":"lo"},
             {"dst":"10.0.0.3","dev":"natfleet-probe","scope":"link"},
             {"dst":"10.0.0.0/24","dev":"eth0","metric":100}]
            """, .ipv4)
        let facts = HostFacts(
            interfaces: [], routes: routes, iptables: .init(backend: .nft, version: "1.8.9"))
        #expect(facts.defaultRoute(.ipv4)?.interface == "eth0")
        #expect(facts.defaultRoute(.ipv6) == nil)
        #expect(routes.count == 3)
    }

    @Test func readsMultipathDefaults() throws {
        let routes = try FactGatherer.routes(
            """
            [{"dst":"default","metric":1024,"nexthops":[{"gateway":"fe80::1","dev":"ens5"},{"gateway":"fe80::2","dev":"ens6"}]}]
            """, .ipv6)
        #expect(routes.first?.interface == "ens5")
    }

    @Test(arguments: [
        ("iptables v1.8.9 (nf_tables)\n", HostFacts.Iptables.Backend.nft, "1.8.9"),
        ("iptables v1.8.7 (legacy)", .legacy, "1.8.7"),
        ("iptables v1.6.1", .legacy, "1.6.1"),
    ])
    func readsTheBackend(text: String, backend: HostFacts.Iptables.Backend, version: String) throws {
        #expect(try FactGatherer.iptables(text) == .init(backend: backend, version: version))
    }

    @Test func refusesOutputThatIsNotJSON() {
        #expect(throws: KernelError.self) { try FactGatherer.interfaces("Object \"x\" is unknown") }
        #expect(throws: KernelError.self) { try FactGatherer.iptables("command not found") }
    }
}

struct LostFactsTests {
    private func facts(_ addresses: [String], gateway: String?) throws -> HostFacts {
        let listed = try addresses.map { HostFacts.Address(try IPAddress($0), prefixLength: 24) }
        let route = try gateway.map {
            HostFacts.Route(destination: .everything(.ipv4), interface: "eth0", gateway: try IPAddress($0))
        }
        return HostFacts(
            interfaces: [.init(name: "eth0", addresses: listed)], routes: route.map { [$0] } ?? [],
            iptables: .init(backend: .nft, version: "1.8.9"))
    }

    @Test func keepsALostRouteAndALostAddress() throws {
        let known = try facts(["10.0.0.11"], gateway: "10.0.0.1")
        let (kept, lost) = try facts([], gateway: nil).keepingLost(since: known)
        #expect(kept == known)
        #expect(lost == [.route(.ipv4, "eth0"), .address(.ipv4, "eth0")])
    }

    @Test func followsAChangedAddress() throws {
        let known = try facts(["10.0.0.11"], gateway: "10.0.0.1")
        let new = try facts(["10.0.0.77"], gateway: "10.0.0.1")
        #expect(new.keepingLost(since: known).facts == new)
        #expect(new.keepingLost(since: known).lost.isEmpty)
    }

    @Test func keepsAnInterfaceThatIsGone() throws {
        let known = try facts(["10.0.0.11"], gateway: "10.0.0.1")
        var gone = try facts([], gateway: nil)
        gone.interfaces = []
        let (kept, lost) = gone.keepingLost(since: known)
        #expect(kept == known)
        #expect(lost == [.route(.ipv4, "eth0"), .interface("eth0")])
    }
}
