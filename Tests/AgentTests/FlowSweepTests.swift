// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: natfleet contributors

import AgentCore
import NATPolicy
import NetAddress
import Netfilter
import Testing

/// Flows that go untranslated, or that a changed port forward left behind.
struct FlowSweepTests {
    typealias Make = FlowFixtures

    struct Row: Sendable, CustomStringConvertible {
        let flow: String
        let fault: FlowSweep.Fault?
        let description: String

        init(_ flow: String, _ fault: FlowSweep.Fault? = nil, _ why: String) {
            self.flow = flow
            self.fault = fault
            description = "\(why): \(flow)"
        }
    }

    // MARK: Masquerade

    @Test(arguments: [
        Row("tcp 10.0.1.10:4000 198.51.100.7:443", .untranslated, "a client goes untranslated"),
        Row("udp 10.0.1.10:4000 198.51.100.7:53", .untranslated, "UDP"),
        Row("icmp 10.0.1.10 198.51.100.7", .untranslated, "an echo"),
        Row("gre 10.0.1.10 198.51.100.7", .untranslated, "a protocol without ports"),
        Row("icmp 2001:db8:0:101::10 2001:db8:ffff::7", .untranslated, "an IPv6 echo"),
        Row("tcp [2001:db8:0:101::10]:4000 [2001:db8:ffff::7]:443", .untranslated, "an IPv6 client"),
        Row(
            "tcp 10.0.1.10:4000 198.51.100.7:443 198.51.100.7:443 10.0.1.10:4001", .untranslated,
            "a port that the kernel changed where two flows clashed"),
        Row(
            "tcp 10.0.1.10:4000 198.51.100.7:443 198.51.100.7:443 10.0.0.11:4000", nil, "translated"),
        Row("icmp 10.0.1.10 198.51.100.7 198.51.100.7 10.0.0.11", nil, "a translated echo"),
        Row(
            "tcp [2001:db8:0:101::10]:4000 [2001:db8:ffff::7]:443 [2001:db8:ffff::7]:443 [2001:db8:0:100::11]:4000",
            nil, "translated IPv6"),
        Row(
            "udp 10.0.1.10:4000 192.0.2.1:53 198.51.100.7:53 10.0.1.10:4000", .untranslated,
            "somebody else's DNAT to the internet, source untranslated"),
        Row(
            "udp 10.0.1.10:4000 192.0.2.1:53 198.51.100.7:53 10.0.0.11:4000", nil,
            "somebody else's DNAT, translated"),
        Row("tcp 10.0.1.10:4000 10.8.0.7:443", nil, "an excepted destination"),
        Row("udp 10.0.1.10:4000 192.0.2.1:53 10.8.0.7:53 10.0.1.10:4000", nil, "somebody else's DNAT to an exception"),
        Row("tcp 10.0.0.11:4000 198.51.100.7:443", nil, "the host's own connection"),
        Row("tcp 10.0.1.10:4000 10.0.0.11:22", nil, "to the host itself"),
        Row("tcp [2001:db8:0:100::11]:4000 [2001:db8:ffff::7]:443", nil, "the host's own, IPv6"),
        Row("udp 10.0.1.10:4000 10.0.0.11:53 127.0.0.1:53 10.0.1.10:4000", nil, "redirected to the host itself"),
        Row("tcp 192.168.7.7:4000 198.51.100.7:443", nil, "a source that no masquerade names"),
        Row("tcp [2001:db8:77::7]:4000 [2001:db8:ffff::7]:443", nil, "an IPv6 source that none names"),
        Row("tcp 198.51.100.7:4000 10.0.1.80:80", nil, "from outside"),
        Row("udp 10.0.0.20:68 255.255.255.255:67", nil, "broadcast"),
        Row("udp 10.0.0.20:137 10.0.0.255:137", nil, "broadcast on the link"),
        Row("udp 10.0.0.20:5353 224.0.0.251:5353", nil, "multicast"),
        Row("udp [2001:db8:0:100::20]:5353 [ff02::fb]:5353", nil, "IPv6 multicast"),
        Row("udp [fe80::20]:546 [ff02::1:2]:547", nil, "from a link-local address"),
        Row("tcp [2001:db8:0:100::20]:4000 [fe80::11]:22", nil, "to a link-local address"),
        Row("udp 0.0.0.0:68 198.51.100.7:67", nil, "from nobody"),
    ])
    func untranslatedFlowsEndAndNoOthers(row: Row) throws {
        let policy = Make.policy([try Make.egress(except: "10.8.0.0/16", "2001:db8:8::/48")])
        for facts in [try Make.single(), try Make.double()] {
            for before in [Make.policy(), policy] {
                let sweep = try Make.sweep(from: before, to: policy, on: facts)
                #expect(sweep.fault(of: try TrackedFlow(row.flow)) == row.fault)
            }
            // Without the masquerade nothing has to be translated.
            let off = try Make.sweep(from: policy, to: Make.policy(), on: facts)
            #expect(off.fault(of: try TrackedFlow(row.flow)) == nil)
        }
    }

    /// What leaves by another interface than the masquerade's stays as it is.
    @Test(
        arguments: [
            ("tcp 10.0.1.10:4000 10.0.1.80:80", FlowSweep.Fault.untranslated, nil),
            ("tcp 10.0.9.20:4000 10.0.1.80:80", .untranslated, nil),
            ("tcp 10.0.1.10:4000 10.0.9.80:80", .untranslated, nil),
            ("tcp 10.0.1.10:4000 10.0.0.20:80", .untranslated, .untranslated),
            ("tcp [2001:db8:0:101::10]:4000 [2001:db8:0:109::80]:80", .untranslated, nil),
            ("tcp [2001:db8:0:101::10]:4000 [2001:db8:0:100::80]:80", .untranslated, .untranslated),
        ] as [(String, FlowSweep.Fault?, FlowSweep.Fault?)])
    func theWayOutDecides(flow: String, onOneInterface: FlowSweep.Fault?, onTwo: FlowSweep.Fault?) throws {
        let policy = Make.policy([try Make.egress()])
        let flow = try TrackedFlow(flow)
        #expect(try Make.sweep(from: policy, to: policy, on: Make.single()).fault(of: flow) == onOneInterface)
        #expect(try Make.sweep(from: policy, to: policy, on: Make.double()).fault(of: flow) == onTwo)
    }

    @Test func theFirstEntryThatMatchesDecides() throws {
        var exception = try Make.egress(.networks([try CIDR("10.0.1.0/24")]), except: "198.51.100.0/24")
        exception.name = "first"
        exception.families = [.ipv4]
        let policy = Make.policy([exception, try Make.egress()])
        let sweep = try Make.sweep(from: policy, to: policy, on: Make.single())
        #expect(sweep.fault(of: try TrackedFlow("tcp 10.0.1.10:4000 198.51.100.7:443")) == nil)
        #expect(sweep.fault(of: try TrackedFlow("tcp 10.0.2.10:4000 198.51.100.7:443")) == .untranslated)
        #expect(sweep.fault(of: try TrackedFlow("tcp 10.0.1.10:4000 203.0.113.7:443")) == .untranslated)
    }

    @Test func zonesDyingFlowsAndUnknownAddressesOfTheHostAreNotOurs() throws {
        let policy = Make.policy([try Make.egress()])
        let ruleset = try compile(policy, on: Make.single()).ruleset
        let flow = try TrackedFlow("tcp 10.0.1.10:4000 198.51.100.7:443")
        let sweep = FlowSweep(from: ruleset, to: ruleset, facts: try Make.single())
        #expect(sweep.fault(of: flow) == .untranslated)
        for change: (inout TrackedFlow) -> Void in [
            { $0.zone = 3 }, { $0.originalZone = 3 }, { $0.replyZone = 3 }, { $0.status.insert(.dying) },
        ] {
            var other = flow
            change(&other)
            #expect(sweep.fault(of: other) == nil)
        }
        let knowing = FlowSweep(
            from: ruleset, to: ruleset, facts: try Make.single(), ownAddresses: [try IPAddress("10.0.1.10")])
        #expect(knowing.fault(of: flow) == nil)
    }

    @Test func withoutARouteNothingWouldBeTranslated() throws {
        let ruleset = try compile(Make.policy([try Make.egress()]), on: Make.single()).ruleset
        var facts = try Make.single()
        facts.routes = []
        let sweep = FlowSweep(from: ruleset, to: ruleset, facts: facts)
        #expect(sweep.fault(of: try TrackedFlow("tcp 10.0.1.10:4000 198.51.100.7:443")) == nil)
        #expect(sweep.fault(of: try TrackedFlow("tcp 10.0.1.10:4000 10.0.0.20:443")) == .untranslated)
    }

    /// Ended are only flows under an address of the host's that is not in a network of the interface, and only when that
    /// has regained something.
    @Test(arguments: [
        ("[2001:db8:0:109::13]:4000", true), ("[2001:db8:0:100::11]:4000", false),
        ("[2001:db8:0:100::abc]:4000", false), ("[2001:db8:0:10a::1]:4000", false),
    ])
    func whatWentAstray(taken: String, isAstray: Bool) throws {
        let facts = try FlowFixtures.double()
        let ruleset = try compile(FlowFixtures.policy([try FlowFixtures.egress()]), on: facts).ruleset
        let server = "[2001:db8:ffff::7]:53"
        let flow = try TrackedFlow("udp [2001:db8:0:101::10]:4000 \(server) \(server) \(taken)")
        for regained in [["eth0"], ["eth1"], []] as [Set<String>] {
            let sweep = FlowSweep(
                from: ruleset, to: ruleset, facts: facts, ownAddresses: [try IPAddress("2001:db8:0:100::abc")],
                regained: regained)
            #expect(sweep.fault(of: flow) == (isAstray && regained == ["eth0"] ? .astray : nil), "\(regained)")
        }
    }
}
