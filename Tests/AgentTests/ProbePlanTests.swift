// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: natfleet contributors

import AgentCore
import NATPolicy
import NetAddress
import Testing

struct ProbePlanTests {
    /// eth0 outside; with `inside` also eth1, behind which private networks and somebody else's are.
    private static func facts(vpc: [String] = [], inside: Bool = false, taken: [String] = []) throws -> HostFacts {
        func address(_ text: String, _ length: Int) throws -> HostFacts.Address {
            HostFacts.Address(try IPAddress(text), prefixLength: length)
        }
        func route(_ destination: String, _ interface: String, _ gateway: String) throws -> HostFacts.Route {
            .init(destination: try CIDR(destination), interface: interface, gateway: try IPAddress(gateway))
        }
        var facts = HostFacts(
            interfaces: [
                .init(
                    name: "eth0",
                    addresses: try [
                        address("10.0.0.11", 24), address("fe80::b", 64), address("2001:db8:0:100::11", 64),
                    ] + taken.map { try address($0, 32) })
            ],
            routes: try [route("0.0.0.0/0", "eth0", "10.0.0.1"), route("::/0", "eth0", "fe80::1")],
            iptables: .init(backend: .nft, version: "1.8.9"),
            vpcCIDRs: try vpc.map { try CIDR($0) })
        if inside {
            facts.interfaces.append(
                .init(name: "eth1", addresses: try [address("10.0.9.13", 24), address("2001:db8:0:109::13", 64)]))
            facts.routes += try [
                route("10.0.3.0/24", "eth1", "10.0.9.1"), route("172.20.0.0/16", "eth1", "10.0.9.1"),
            ]
        }
        return facts
    }

    private static func plan(
        _ entries: [Masquerade], on facts: HostFacts, targets: [String] = [], forward: String? = nil,
        clients: [String] = []
    ) throws -> ProbePlan {
        let forwards = try forward.map { target in
            PortForward(
                name: "web", protocol: .tcp, port: try PortRange(8001),
                to: Endpoint(try IPAddress(target), ports: try PortRange(80)))
        }
        let policy = EffectivePolicy(
            layers: [.init(policy: "web", revision: 1)], forwarding: Forwarding(ipv4: true, ipv6: true),
            masquerade: entries.map { .init(policy: "web", entry: $0) },
            dnat: [forwards].compactMap { $0.map { .init(policy: "web", entry: $0) } },
            probes: try targets.map { try ProbeTarget($0) })
        return ProbePlan(
            try compile(policy, on: facts), of: policy, on: facts,
            clients: Set(try clients.map { try IPAddress($0) }))
    }

    private static func egress(
        _ sources: [String], families: [IPFamily]? = nil, interface: InterfaceChoice = .auto, except: [String] = []
    ) throws -> Masquerade {
        let choice: SourceChoice =
            sources == ["any"] ? .any : sources == ["vpc"] ? .vpc : .networks(try sources.map { try CIDR($0) })
        return Masquerade(
            name: "egress", families: families, interface: interface, sources: choice,
            except: try except.map { try CIDR($0) })
    }

    /// Neither `kept` nor `guesses`: not probed.
    private struct Choice: Sendable, CustomTestStringConvertible {
        var testDescription: String
        var vpc: [String]
        var sources: [String]
        var taken: [String]
        var kept: [String]
        /// Compared where none is kept.
        var guesses: [String]
        var isSuspicious: Bool

        init(
            _ what: String, vpc: [String] = [], _ sources: [String], taken: [String] = [], kept: [String] = [],
            guesses: [String] = [], isSuspicious: Bool = false
        ) {
            (testDescription, self.vpc, self.sources, self.taken) = (what, vpc, sources, taken)
            (self.kept, self.guesses, self.isSuspicious) = (kept, guesses, isSuspicious)
        }
    }

    private static let choices: [Choice] = [
        Choice("the VPC", vpc: ["10.0.0.0/16"], ["vpc"], kept: ["10.0.0.3"]),
        Choice("everybody, VPC known", vpc: ["10.0.0.0/16"], ["any"], kept: ["10.0.0.3"]),
        Choice("everybody, VPC unknown", ["any"], kept: ["10.0.0.3"]),
        Choice("more than the VPC", vpc: ["10.4.0.0/16"], ["10.0.0.0/8"], kept: ["10.4.0.3", "10.0.0.3"]),
        Choice(
            "the first is taken", vpc: ["10.0.0.0/16", "10.1.0.0/16"], ["vpc"], taken: ["10.0.0.3"], kept: ["10.1.0.3"]
        ),
        Choice("a peer beside the VPC", vpc: ["10.0.0.0/16"], ["10.9.0.0/16", "10.0.0.0/16"], kept: ["10.0.0.3"]),
        Choice("the subnet on link, VPC unknown", ["10.0.0.0/24"], kept: ["10.0.0.3"]),
        Choice("mistyped", vpc: ["10.0.0.0/16"], ["10.10.0.0/16"], kept: ["10.0.0.3"], isSuspicious: true),
        Choice("IPv6", vpc: ["2001:db8:0:100::/56"], ["vpc"], kept: ["2001:db8:0:100::3"]),
        // A subnet, several, or a part of one: nobody here knows.
        Choice(
            "part of the VPC", vpc: ["10.0.0.0/16"], ["10.0.2.0/24"], guesses: ["10.0.2.255", "10.0.2.0", "10.0.2.3"]),
        Choice(
            "not where a subnet has to begin", vpc: ["10.0.0.0/16"], ["10.0.5.64/26"],
            guesses: ["10.0.5.127", "10.0.5.64", "10.0.5.67"]),
        Choice(
            "EC2's smallest subnet", vpc: ["10.0.0.0/16"], ["10.0.2.16/28"],
            guesses: ["10.0.2.31", "10.0.2.16", "10.0.2.19"]),
        Choice("smaller than any subnet", vpc: ["10.0.0.0/16"], ["10.0.2.8/29", "10.0.2.7/32"]),
        Choice("VPC unknown", ["10.0.2.0/24"], guesses: ["10.0.2.255", "10.0.2.0"]),
        Choice("mistyped, VPC unknown", ["10.10.0.0/16"], guesses: ["10.10.255.255", "10.10.0.0"]),
        Choice(
            "somebody else's network", vpc: ["10.0.0.0/16"], ["10.0.0.0/16", "192.168.10.0/24"], kept: ["10.0.0.3"]),
        Choice("taken by a port forward", ["10.0.80.0/24"], guesses: ["10.0.80.0"]),
        Choice("all taken", ["10.0.2.0/24"], taken: ["10.0.2.0", "10.0.2.255"]),
        Choice("containers of this host", vpc: ["10.0.0.0/16"], ["172.17.0.0/16"]),
        Choice("containers of this host, VPC unknown", ["172.17.0.0/16"]),
        Choice(
            "one subnet of IPv6", vpc: ["2001:db8:0:100::/56"], ["2001:db8:0:101::/64"],
            guesses: ["2001:db8:0:101:ffff:ffff:ffff:ffff", "2001:db8:0:101::", "2001:db8:0:101::3"]),
        Choice("smaller than any subnet of IPv6", ["2001:db8:0:101::/80"]),
    ]

    @Test(arguments: choices)
    private func clientsHaveAddressesThatAreNobodys(_ choice: Choice) throws {
        let family: IPFamily = (choice.vpc + choice.sources).contains { $0.contains(":") } ? .ipv6 : .ipv4
        var facts = try Self.facts(vpc: choice.vpc, taken: choice.taken)
        let bridge = HostFacts.Address(try IPAddress("172.17.0.1"), prefixLength: 16)
        facts.interfaces.append(.init(name: "docker0", addresses: [bridge]))
        facts.routes.append(.init(destination: try CIDR("172.17.0.0/16"), interface: "docker0"))
        let isOpen = choice.sources == ["vpc"] || choice.sources == ["any"]
        let plan = try Self.plan(
            [Self.egress(choice.sources, families: isOpen ? [family] : nil)], on: facts, forward: "10.0.80.255")
        let clients = plan.entries.filter { $0.family == family }.flatMap(\.clients)
        let kept = clients.filter(\.isKept).map(\.address.description)
        let guesses = clients.filter { !$0.isKept }.map(\.address.description)
        #expect(kept == choice.kept && (!kept.isEmpty || guesses == choice.guesses), "\(clients)")
        #expect((plan.entries.first?.suspicion != nil) == choice.isSuspicious)
        guard clients.isEmpty else { return }
        #expect(plan.settled.map(\.forwarded).contains { if case .unasked = $0 { true } else { false } })
        #expect(conditions(of: plan.settled) == [])
    }

    @Test
    func aListOfManySubnetsIsNotAllTried() throws {
        let sources = (0..<200).map { "10.0.\($0).0/24" }
        let plan = try Self.plan([Self.egress(sources)], on: Self.facts(vpc: ["10.8.0.0/16"]))
        #expect(plan.entries.map(\.clients.count) == [8])
    }

    @Test
    func datagramGoesWhereNobodyIsAndNoExceptionReaches() throws {
        let vpc = ["10.0.0.0/16", "2001:db8:0:100::/56"]
        let usual = try Self.plan([Self.egress(["vpc"])], on: Self.facts(vpc: vpc))
        #expect(usual.entries.map(\.destination.description) == ["192.0.2.1", "3fff::1"])
        let excepting = try Self.plan(
            [Self.egress(["vpc"], except: ["192.0.0.0/8", "3000::/4"])], on: Self.facts(vpc: vpc))
        #expect(excepting.entries.map(\.destination.description) == ["198.51.100.1", "2001:db8::1"])
        let none = try Self.plan(
            [Self.egress(["vpc"], except: ["128.0.0.0/1", "0.0.0.0/1", "::/1"])], on: Self.facts(vpc: vpc))
        #expect(none.entries.isEmpty)
        #expect(none.settled.count == 2)
    }

    @Test
    func entryOfAnotherInterfaceIsProbedWhereItsRoutesLeadOrSuspected() throws {
        let entry = try Self.egress(["10.0.3.0/24"], interface: .named("eth1"))
        let elsewhere = try Self.plan([entry], on: Self.facts(vpc: ["10.0.0.0/16"], inside: true))
        #expect(elsewhere.entries.map(\.destination.description) == ["172.20.0.0"])
        #expect(elsewhere.entries.first?.suspicion == nil)
        #expect(elsewhere.entries.first?.addresses.map(\.description) == ["10.0.9.13"])
        var facts = try Self.facts(vpc: ["10.0.0.0/16"], inside: true)
        facts.routes.removeAll { $0.destination.description == "172.20.0.0/16" }
        let wrong = try Self.plan([entry], on: facts)
        #expect(wrong.entries.map(\.destination.description) == ["192.0.2.1"])
        #expect(wrong.entries.first?.suspicion == "the way to 192.0.2.1 is by eth0, and the entry translates on eth1")
    }

    /// Each target is asked for by the entries that are on the way there, and by all where none is.
    @Test
    func targetsAreAskedByTheEntryThatIsOnTheirWay() throws {
        let facts = try Self.facts(vpc: ["10.0.0.0/16"], inside: true)
        let entries = try [
            Self.egress(["10.0.0.0/16"]),
            Masquerade(name: "partner", interface: .named("eth1"), sources: .networks([CIDR("10.0.0.0/16")])),
        ]
        let targets = ["tcp:198.51.100.7:443", "tcp:172.20.0.7:443"]
        let plan = try Self.plan(entries, on: facts, targets: targets)
        #expect(plan.entries.map { $0.targets.map(\.description) } == targets.map { [$0] })
        let lost = try Self.plan([entries[0]], on: facts, targets: targets)
        #expect(lost.entries.map { $0.targets.map(\.description) } == [targets])
    }

    @Test
    func targetsBelongToTheirFamilyAndExceptedOnesAreNotAsked() throws {
        let plan = try Self.plan(
            [Self.egress(["vpc"], except: ["203.0.113.0/24"])],
            on: Self.facts(vpc: ["10.0.0.0/16", "2001:db8:0:100::/56"]),
            targets: ["tcp:198.51.100.7:443", "tcp:203.0.113.7:443", "tcp:[2001:db8:7::7]:443"])
        #expect(
            plan.entries.map { $0.targets.map(\.description) } == [
                ["tcp:198.51.100.7:443"], ["tcp:[2001:db8:7::7]:443"],
            ])
        #expect(plan.settled.map(\.target?.description) == ["tcp:203.0.113.7:443"])
        #expect(gate(before: [], after: plan.settled) == .passed)
    }

    @Test(arguments: [
        (["10.0.1.10"], ["10.0.2.0/24"], true), (["10.0.1.10", "10.0.2.9"], ["10.0.2.0/24"], false),
        ([], ["10.0.2.0/24"], false), (["2001:db8::1"], ["10.0.2.0/24"], false), (["10.0.1.10"], ["any"], false),
    ])
    func policyThatLeavesAllClientsOfNowIsAFault(clients: [String], sources: [String], isFault: Bool) throws {
        let plan = try Self.plan(
            [Self.egress(sources, families: [.ipv4])], on: Self.facts(vpc: ["10.0.0.0/16"]), clients: clients)
        #expect((gate(before: [], after: plan.settled) != .passed) == isFault)
    }

    @Test
    func familyThatIsNotMasqueradedIsNotProbed() throws {
        let plan = try Self.plan(
            [Self.egress(["10.0.0.0/16"], families: [.ipv4])], on: Self.facts(vpc: ["10.0.0.0/16"]),
            targets: ["tcp:[2001:db8:7::7]:443"])
        #expect(plan.entries.map(\.family) == [.ipv4])
        #expect(plan.entries.flatMap(\.targets) == [])
        #expect(plan.settled == [])
    }
}
