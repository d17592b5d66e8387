// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: natfleet contributors

import AgentCore
import NATPolicy
import NetAddress
import Testing

/// Who is a client of an instance, and who is only translated there.
struct ClientsInUseTests {
    /// eth0 in the VPC, and a bridge of containers; with `double` clients come by eth1.
    private static func facts(double: Bool = false, vpc: Bool = true) throws -> HostFacts {
        var facts = try double ? FlowFixtures.double() : FlowFixtures.single()
        let bridge = HostFacts.Address(try IPAddress("172.17.0.1"), prefixLength: 16)
        facts.interfaces.append(.init(name: "docker0", addresses: [bridge]))
        facts.routes.append(.init(destination: try CIDR("172.17.0.0/16"), interface: "docker0"))
        if !vpc { facts.vpcCIDRs = [] }
        return facts
    }

    /// Sources of flows that are clients' under a policy of these sources; nil for none that runs.
    private static func clients(
        _ flows: [TrackedFlow], of sources: SourceChoice?, on facts: HostFacts, probe: ProbeFlows = ProbeFlows()
    ) throws -> [String] {
        let policy = FlowFixtures.policy(try sources.map { [try FlowFixtures.egress($0)] } ?? [])
        var seen = ClientsInUse(
            of: try compile(policy, on: facts).masquerades, on: facts,
            probe: probe,
            connectionTimeout: 432_000)
        for flow in flows { seen.see(flow) }
        return seen.clients.sorted().map(\.description)
    }

    private static func flow(
        _ text: String, status: FlowStatus = [.seenReply, .assured], state: UInt8? = nil, timeout: UInt32 = 431_990
    ) throws -> TrackedFlow {
        var flow = try TrackedFlow(text)
        (flow.status, flow.tcpState, flow.timeout) = (status, state, timeout)
        return flow
    }

    private static let client = "tcp 10.0.1.10:4000 198.51.100.7:443 198.51.100.7:443 10.0.0.11:4000"
    private static let client6 =
        "tcp [2001:db8:0:101::10]:4000 [2001:db8:ffff::7]:443 [2001:db8:ffff::7]:443 [2001:db8:0:100::11]:4000"
    private static let container = "tcp 172.17.0.2:4000 198.51.100.7:443 198.51.100.7:443 10.0.0.11:4001"
    /// Of an address beside the VPC, by the router.
    private static let far = "udp 192.168.7.9:4000 198.51.100.7:53 198.51.100.7:53 10.0.0.11:4002"
    /// The target of a port forward sees this host.
    private static let peer = "tcp 198.51.100.99:4000 10.0.0.11:8001 10.0.1.80:80 10.0.0.11:4003"
    /// Another one, that the kernel gave the same port to.
    private static let hairpin = "tcp 10.0.1.12:4000 10.0.0.11:8001 10.0.1.80:80 10.0.0.11:4004"

    private static let all = [client, client6, container, far, peer, hairpin]

    @Test func clientsOfAPolicyAreThoseOfItsSources() throws {
        let flows = try Self.all.map { try Self.flow($0) }
        let both = ["10.0.1.10", "2001:db8:0:101::10"]
        for facts in try [Self.facts(), Self.facts(double: true)] {
            #expect(try Self.clients(flows, of: .vpc, on: facts) == both)
        }
        let other = SourceChoice.networks([try CIDR("192.168.0.0/16"), try CIDR("2001:db8:0:101::/64")])
        #expect(try Self.clients(flows, of: other, on: Self.facts()) == ["192.168.7.9", both[1]])
        let containers = SourceChoice.networks([try CIDR("172.16.0.0/12"), try CIDR("2001:db8:9::/48")])
        #expect(try Self.clients(flows, of: containers, on: Self.facts()) == ["172.17.0.2"], "the policy says so")
    }

    /// By hand, or by a policy for everybody.
    @Test func whereEverybodyIsTranslatedClientsComeFromARouter() throws {
        let flows = try Self.all.map { try Self.flow($0) }
        let wanted = ["10.0.1.10", "192.168.7.9", "2001:db8:0:101::10"]
        for vpc in [true, false] {
            for double in [false, true] {
                let facts = try Self.facts(double: double, vpc: vpc)
                #expect(try Self.clients(flows, of: nil, on: facts) == wanted, "\(double) \(vpc)")
                #expect(try Self.clients(flows, of: .any, on: facts) == wanted, "\(double) \(vpc)")
            }
        }
    }

    @Test func aFamilyOfItsOwnWithoutAPolicyIsTranslatedByOthers() throws {
        let flows = try [Self.client, Self.client6].map { try Self.flow($0) }
        var facts = try Self.facts()
        let policy = FlowFixtures.policy([
            Masquerade(name: "egress", families: [.ipv4], sources: .networks([try CIDR("10.9.0.0/16")]))
        ])
        facts.vpcCIDRs = []
        var seen = ClientsInUse(of: try compile(policy, on: facts).masquerades, on: facts)
        for flow in flows { seen.see(flow) }
        #expect(seen.clients.map(\.description) == ["2001:db8:0:101::10"])
    }

    @Test(
        arguments: [
            (3, 431_990, true), (3, 431_880, true), (3, 431_879, false), (3, 60, false), (3, 500_000, true),
            (7, 119, true),
            (nil, 20, true),
        ] as [(UInt8?, UInt32, Bool)])
    func whoWasSilentForLongIsGone(state: UInt8?, timeout: UInt32, counts: Bool) throws {
        let flow = try Self.flow(Self.client, state: state, timeout: timeout)
        #expect(try Self.clients([flow], of: .vpc, on: Self.facts()) == (counts ? ["10.0.1.10"] : []))
    }

    @Test func whoIsNotServedIsNoClientNorIsTheProbe() throws {
        let own = "tcp 10.0.0.3:4000 198.51.100.7:443 198.51.100.7:443 10.0.0.11:4000"
        let datagram = "udp 10.0.0.3:4000 192.0.2.1:9 192.0.2.1:9 10.0.0.11:4000"
        // Nobody answered, or nobody translated.
        let flows = try [
            Self.flow(Self.client, status: []), Self.flow("tcp 10.0.1.13:4000 198.51.100.7:443"), Self.flow(own),
        ]
        #expect(try Self.clients(flows, of: .vpc, on: Self.facts()) == ["10.0.0.3"])
        let probe = try FlowFixtures.probe(asking: "tcp:198.51.100.7:443")
        #expect(try Self.clients(flows, of: .vpc, on: Self.facts(), probe: probe) == [])
        #expect(try Self.clients(flows + [Self.flow(datagram, status: [])], of: .vpc, on: Self.facts()) == [])
        // Somebody who has the address.
        let other = try [Self.flow("tcp 10.0.0.3:4000 198.51.100.7:80 198.51.100.7:80 10.0.0.11:4000")]
        let all = try flows + other + [Self.flow(datagram, status: [])]
        #expect(try Self.clients(all, of: .vpc, on: Self.facts(), probe: probe) == ["10.0.0.3"])
    }
}
