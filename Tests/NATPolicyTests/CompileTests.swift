// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: natfleet contributors

import NATPolicy
import NetAddress
import Netfilter
import TestSupport
import Testing

struct CompileTests {
    @Test func seedPolicyOnTheSeedsHost() throws {
        let text = try CompileFixtures.text(CompileFixtures.seed(), on: CompileFixtures.single(vpc: ["10.0.0.0/16"]))
        #expect(try goldenDifference(text, "seed-single.rules") == [])
    }

    @Test func seedPolicyOnTwoInterfacesWithoutVPCFacts() throws {
        let text = try CompileFixtures.text(CompileFixtures.seed(), on: CompileFixtures.double())
        #expect(try goldenDifference(text, "seed-double.rules") == [])
    }

    @Test func nothingCompilesToNothing() throws {
        let compiled = try compile(.none, on: CompileFixtures.single())
        #expect(compiled.ruleset == Ruleset())
        #expect(compiled.sysctls.isEmpty && compiled.forwarding.isEmpty)
    }

    @Test func settingsComeInOrder() throws {
        let single = try compile(CompileFixtures.seed(), on: CompileFixtures.single())
        #expect(
            single.sysctls == [
                SysctlSetting("net.ipv4.conf.all.send_redirects", "0"),
                SysctlSetting("net.ipv4.conf.eth0.send_redirects", "0"),
                SysctlSetting("net.ipv6.conf.eth0.accept_ra", "2", .unless("0")),
            ])
        #expect(single.forwarding.map(\.key) == ["net.ipv4.ip_forward", "net.ipv6.conf.all.forwarding"])
        let double = try compile(CompileFixtures.seed(), on: CompileFixtures.double())
        #expect(
            double.sysctls.filter { $0.key.hasSuffix("rp_filter") } == [
                SysctlSetting("net.ipv4.conf.all.rp_filter", "2", .when("1")),
                SysctlSetting("net.ipv4.conf.eth0.rp_filter", "2", .when("1")),
                SysctlSetting("net.ipv4.conf.eth1.rp_filter", "2", .when("1")),
            ])
        #expect(SysctlSetting.path(of: "net.ipv6.conf.eth0/100.accept_ra") == "net/ipv6/conf/eth0.100/accept_ra")
    }

    @Test func settingIsDueByWhatIsThereAndWhatWasFound() {
        let advertisements = SysctlSetting("net.ipv6.conf.eth0.accept_ra", "2", .unless("0"))
        #expect(["0", "1", "2"].map { advertisements.isDue(now: $0) } == [false, true, false])
        #expect(["0", "1", "2"].map { advertisements.isDue(now: $0, found: "1") } == [false, true, false])
        let filter = SysctlSetting("net.ipv4.conf.all.rp_filter", "2", .when("1"))
        #expect(["0", "1", "2"].map { filter.isDue(now: $0) } == [false, true, false])
        #expect(["0", "1", "2"].map { filter.isDue(now: $0, found: "1") } == [true, true, false])
        #expect(SysctlSetting("net.ipv4.ip_forward", "1").isDue(now: "0"))
    }

    @Test func whatWasLeftToTheHostIsSaid() throws {
        var facts = try CompileFixtures.single(vpc: ["10.0.0.0/16"])
        facts.routes.removeAll { $0.destination == .everything(.ipv6) }
        let policy = CompileFixtures.policy([Masquerade(name: "egress")], [try CompileFixtures.forward(hairpin: true)])
        let compiled = try compile(policy, on: facts)
        #expect(
            compiled.resolved == [
                "web/egress: interface auto is eth0 in IPv4",
                "web/egress: sources vpc are 10.0.0.0/16",
                "web/egress: IPv6 left out, the VPC has no IPv6 network",
                "web/PortMapping: destination self is 10.0.0.1 and 203.0.113.10",
                "IPv6 forwarding stays off, this host has no IPv6 default route",
            ])
        #expect(compiled.outside == [.ipv4: "eth0"])

        facts.vpcCIDRs.append(try CIDR("2001:db8:0:2::/64"))
        #expect(
            try compile(policy, on: facts).resolved.contains(
                "web/egress: IPv6 left out, this host has no IPv6 default route"))
        let onlyIPv4 = CompileFixtures.policy([Masquerade(name: "egress")], forwarding: Forwarding(ipv4: true))
        #expect(
            try compile(onlyIPv4, on: CompileFixtures.single(vpc: ["10.0.0.0/16", "2001:db8:0:2::/64"])).resolved
                .contains("web/egress: IPv6 left out, the policy does not forward IPv6"))
    }

    struct Wrong: CustomTestStringConvertible {
        let testDescription: String
        let policy: EffectivePolicy
        let faults: [String]

        static func all() throws -> [Wrong] {
            let list = try CompileFixtures.networks("10.0.0.0/16")
            func masquerade(_ families: [IPFamily]?, _ interface: InterfaceChoice = .auto, _ sources: SourceChoice)
                -> Masquerade
            {
                Masquerade(name: "egress", families: families, interface: interface, sources: sources)
            }
            func wrong(_ description: String, _ policy: EffectivePolicy, _ faults: String...) -> Wrong {
                Wrong(testDescription: description, policy: policy, faults: faults)
            }
            return [
                wrong(
                    "no such interface", CompileFixtures.policy([masquerade(nil, .named("ens5"), list)]),
                    "web/egress: this host has no interface ens5, only eth0, docker0"),
                wrong(
                    "VPC unknown", CompileFixtures.policy([masquerade(nil, .auto, .vpc)]),
                    "web/egress: sources is vpc, and nobody told this host the CIDRs of its VPC"),
                wrong(
                    "family without sources", CompileFixtures.policy([masquerade([.ipv4, .ipv6], .auto, list)]),
                    "web/egress: sources has no IPv6 network"),
                wrong(
                    "interface without address", CompileFixtures.policy([masquerade([.ipv6], .named("docker0"), .any)]),
                    "web/egress: docker0 has no IPv6 address"),
                wrong(
                    "family without forwarding",
                    CompileFixtures.policy(
                        [masquerade([.ipv4], .auto, list)], [try CompileFixtures.forward(to: "[2001:db8:0:2::1]:80")],
                        forwarding: Forwarding()),
                    "web/egress: the policy does not forward IPv4",
                    "web/PortMapping: the policy does not forward IPv6"),
                wrong(
                    "no family left",
                    CompileFixtures.policy([masquerade(nil, .auto, list)], forwarding: Forwarding(ipv6: true)),
                    "web/egress: no family is left to masquerade: the policy does not forward IPv4, "
                        + "and sources has no IPv6 network"),
                wrong(
                    "an address that is another's",
                    CompileFixtures.policy(
                        [],
                        [
                            try CompileFixtures.forward(
                                "a", "8000-9000", to: "10.0.1.1:8000-9000",
                                destination: .address(try IPAddress("10.0.9.9")))
                        ]),
                    "web/a: destination 10.0.9.9 is no address of this host"),
                wrong(
                    "self and the same address written out",
                    CompileFixtures.policy(
                        [],
                        [
                            try CompileFixtures.forward("a"),
                            try CompileFixtures.forward(
                                "b", "8000-8010", to: "10.0.1.2:8000-8010",
                                destination: .address(try IPAddress("10.0.0.1"))),
                        ]),
                    "web/a: 10.0.0.1 tcp 8001 is also forwarded by web/b"),
                wrong(
                    "families of destination and target differ",
                    CompileFixtures.policy(
                        [],
                        [
                            try CompileFixtures.forward(
                                to: "[2001:db8:0:2::1]:80", destination: .address(try IPAddress("10.0.0.1")))
                        ]),
                    "web/PortMapping: destination 10.0.0.1 and to 2001:db8:0:2::1 are of different families"),
            ]
        }
    }

    @Test(arguments: try Wrong.all())
    func whatCannotBeTrueHereIsRefusedWithARemedy(wrong: Wrong) throws {
        let error = #expect(throws: CompileError.self) { try compile(wrong.policy, on: CompileFixtures.single()) }
        #expect(error?.faults.map(\.description) == wrong.faults)
        #expect(error?.faults.allSatisfy { !$0.remedy.isEmpty } == true)
    }

    @Test func thePortOfAControllerOnThisHostIsRefused() throws {
        var facts = try CompileFixtures.single()
        facts.controller = [try Endpoint("10.0.0.1:8443")]
        let policy = CompileFixtures.policy(
            [], [try CompileFixtures.forward("a", "8000-9000", to: "10.0.1.1:8000-9000")])
        let error = #expect(throws: CompileError.self) { try compile(policy, on: facts) }
        #expect(error?.faults.map(\.description) == ["web/a: 10.0.0.1:8443 is where agents reach their controller"])
    }

    /// A kernel that forwards ignores the router advertisements that would bring the route.
    @Test func aFamilyWithoutAWayOutIsHeldBackUntilItHasOne() throws {
        var facts = try CompileFixtures.single()
        let list = SourceChoice.networks([try CIDR("10.0.0.0/16"), try CIDR("2001:db8:0:2::/64")])
        let policy = CompileFixtures.policy([Masquerade(name: "egress", sources: list)], [])
        #expect(try compile(policy, on: facts).heldBack.isEmpty)
        facts.routes.removeAll { $0.destination == .everything(.ipv6) }
        let compiled = try compile(policy, on: facts)
        #expect(compiled.heldBack == [.ipv6])
        #expect(compiled.forwarding.map(\.key) == ["net.ipv4.ip_forward"])
        #expect(compiled.sysctls.contains(SysctlSetting("net.ipv6.conf.eth0.accept_ra", "2", .unless("0"))))
    }

    @Test func hostWithoutAFamilyIsRefused() throws {
        var facts = try CompileFixtures.single()
        facts.routes.removeAll { $0.destination.family == .ipv6 }
        facts.interfaces[0].addresses.removeLast()
        let error = #expect(throws: CompileError.self) { try compile(CompileFixtures.seed(), on: facts) }
        #expect(
            error?.faults.map(\.description) == [
                "web/egress: this host has no IPv6 default route",
                "web/PortMapping6: this host has no route to 2001:db8:0:2::1",
                "web/PortMapping6: destination is self, and this host has no IPv6 default route to tell which interface",
            ])
    }

    @Test func commentsFitTheKernel() throws {
        let name = String(repeating: "n", count: 63)
        let policy = EffectivePolicy(
            layers: [], forwarding: Forwarding(ipv4: true),
            dnat: [.init(policy: name, entry: try CompileFixtures.forward(name))])
        let rules = try compile(policy, on: CompileFixtures.single()).ruleset.ipv4
        #expect(rules.nat.chains.flatMap(\.rules).map(\.comment) == ["natfleet:\(name)/\(name)"])
    }
}
