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

    private struct Choice: Sendable {
        var what: String
        var vpc: [String]
        var sources: [String]
        var taken: [String] = []
        /// nil: not probed.
        var client: String?
        var isSuspicious = false
    }

    private static let choices: [Choice] = [
        Choice(what: "the VPC", vpc: ["10.0.0.0/16"], sources: ["vpc"], client: "10.0.0.3"),
        Choice(what: "everybody, VPC known", vpc: ["10.0.0.0/16"], sources: ["any"], client: "10.0.0.3"),
        Choice(what: "everybody, VPC unknown", vpc: [], sources: ["any"], client: "10.0.0.3"),
        Choice(what: "part of the VPC", vpc: ["10.0.0.0/16"], sources: ["10.0.2.0/24"], client: "10.0.2.3"),
        Choice(what: "more than the VPC", vpc: ["10.4.0.0/16"], sources: ["10.0.0.0/8"], client: "10.4.0.3"),
        Choice(
            what: "the first is taken", vpc: ["10.0.0.0/16", "10.1.0.0/16"], sources: ["vpc"], taken: ["10.0.0.3"],
            client: "10.1.0.3"),
        Choice(what: "VPC unknown", vpc: [], sources: ["10.0.2.0/24"], client: "10.0.2.3"),
        Choice(what: "all taken", vpc: [], sources: ["10.0.2.0/24"], taken: ["10.0.2.3"], client: nil),
        Choice(what: "taken by a port forward", vpc: [], sources: ["10.0.80.0/24"], client: nil),
        Choice(what: "no room", vpc: ["10.0.0.0/16"], sources: ["10.0.2.8/30", "10.0.2.7/32"], client: nil),
        Choice(what: "just room", vpc: ["10.0.0.0/16"], sources: ["10.0.2.8/29"], client: "10.0.2.11"),
        Choice(
            what: "a peer beside the VPC", vpc: ["10.0.0.0/16"], sources: ["10.9.0.0/16", "10.0.0.0/16"],
            client: "10.0.0.3"),
        Choice(
            what: "mistyped", vpc: ["10.0.0.0/16"], sources: ["10.10.0.0/16"], client: "10.0.0.3", isSuspicious: true),
        Choice(what: "mistyped, VPC unknown", vpc: [], sources: ["10.10.0.0/16"], client: "10.10.0.3"),
        Choice(what: "IPv6", vpc: ["2001:db8:0:100::/56"], sources: ["vpc"], client: "2001:db8:0:100::3"),
        Choice(
            what: "one subnet of IPv6", vpc: ["2001:db8:0:100::/56"], sources: ["2001:db8:0:101::/64"],
            client: "2001:db8:0:101::3"),
    ]

    @Test(arguments: choices)
    private func clientHasAnAddressThatIsNobodys(_ choice: Choice) throws {
        let family: IPFamily =
            choice.sources == ["vpc"] && choice.vpc[0].contains(":") || choice.sources[0].contains(":") ? .ipv6 : .ipv4
        let plan = try Self.plan(
            [
                Self.egress(
                    choice.sources, families: choice.sources == ["vpc"] || choice.sources == ["any"] ? [family] : nil)
            ],
            on: Self.facts(vpc: choice.vpc, taken: choice.taken), forward: "10.0.80.3")
        #expect(
            plan.entries.filter { $0.family == family }.map(\.client.description) == [choice.client].compactMap(\.self))
        #expect((plan.entries.first?.suspicion != nil) == choice.isSuspicious)
        guard choice.client == nil else { return }
        #expect(plan.settled.map(\.forwarded).contains { if case .unasked = $0 { true } else { false } })
        #expect(conditions(of: plan.settled) == [])
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
    func clientsInUseAreThoseThatWereAnsweredAndNotTheProbes() throws {
        func flow(
            _ source: String, to destination: String = "203.0.113.7", _ port: UInt16 = 443, protocolNumber: UInt8 = 6,
            as seen: String = "10.0.0.11", status: FlowStatus = .seenReply
        ) throws -> TrackedFlow {
            let ends = (try IPAddress(source), try IPAddress(destination))
            return TrackedFlow(
                original: FlowTuple(
                    source: ends.0, destination: ends.1, protocolNumber: protocolNumber,
                    detail: .ports(source: 4000, destination: port)),
                reply: FlowTuple(
                    source: ends.1, destination: try IPAddress(seen), protocolNumber: protocolNumber,
                    detail: .ports(source: port, destination: 4000)),
                status: status)
        }
        var seen = ClientsInUse()
        for flow in try [
            flow("10.0.1.10"), flow("10.0.1.11", 53, protocolNumber: 17),
            // Nobody answered, or nobody translated.
            flow("10.0.1.12", status: []), flow("10.0.1.13", as: "10.0.1.13"),
            // The probe's connection to a target, before and after its datagram.
            flow("10.0.0.3"), flow("10.0.0.3", to: "192.0.2.1", 9, protocolNumber: 17, status: []),
            flow("10.0.0.3", to: "203.0.113.8"),
        ] { seen.see(flow) }
        #expect(seen.clients.sorted().map(\.description) == ["10.0.1.10", "10.0.1.11"])
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
