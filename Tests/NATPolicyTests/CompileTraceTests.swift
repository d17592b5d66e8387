// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: natfleet contributors

import NATPolicy
import NetAddress
import Netfilter
import TestSupport
import Testing

/// Packets through compiled rules: what the rules do, whatever they look like.
struct CompileTraceTests {
    typealias Packet = PacketTracer.Packet
    typealias Outcome = PacketTracer.Outcome

    /// Where clients behind the instance come in: eth0 on one interface, eth1 on two.
    struct Host: CustomTestStringConvertible {
        let testDescription: String
        let facts: HostFacts
        let inside: String

        static func all() throws -> [Host] {
            let vpc = ["10.0.0.0/16", "192.168.7.0/24", "2001:db8:0:2::/64", "2001:db8:77::/64"]
            return [
                Host(testDescription: "single", facts: try CompileFixtures.single(), inside: "eth0"),
                Host(testDescription: "double", facts: try CompileFixtures.double(), inside: "eth1"),
                Host(testDescription: "single, VPC known", facts: try CompileFixtures.single(vpc: vpc), inside: "eth0"),
                Host(testDescription: "double, VPC known", facts: try CompileFixtures.double(vpc: vpc), inside: "eth1"),
            ]
        }
    }

    private func trace(_ policy: EffectivePolicy, on facts: HostFacts, _ packet: Packet) throws -> Outcome {
        let compiled = try compile(policy, on: facts)
        return try PacketTracer(compiled.ruleset[packet.source.family], on: facts).trace(packet)
    }

    @Test(arguments: try Host.all())
    func seedPolicyDoesWhatItsAuthorMeant(host: Host) throws {
        let policy = try CompileFixtures.seed()
        func expect(_ packet: Packet, _ outcome: Outcome, _ comment: Comment) throws {
            #expect(try trace(policy, on: host.facts, packet) == outcome, comment)
        }
        let inside = host.inside
        let egress = Outcome(.accepted, isMasqueraded: true)
        for payload in [Packet.Payload.tcp(443), .udp(53), .icmp] {
            try expect(try Packet(from: "10.0.1.5", to: "198.51.100.1", payload, in: inside), egress, "client, IPv4")
            try expect(
                try Packet(from: "2001:db8:0:2::5", to: "2001:db8:f::1", payload, in: inside), egress, "client, IPv6")
            try expect(
                try Packet(from: "192.168.7.5", to: "198.51.100.1", payload, in: inside), Outcome(.dropped), "uncovered"
            )
            try expect(
                try Packet(from: "2001:db8:77::5", to: "2001:db8:f::1", payload, in: inside), Outcome(.dropped),
                "uncovered")
        }
        try expect(try Packet(from: "10.0.1.5", to: "10.9.9.9", .tcp(443), in: inside), Outcome(.accepted), "excepted")
        try expect(
            try Packet(from: "10.0.1.5", to: "10.9.9.9", .tcp(443), in: inside, .invalid), Outcome(.accepted),
            "replies of excepted destinations may take another path")
        try expect(
            try Packet(from: "10.0.1.5", to: "198.51.100.1", .tcp(443), in: inside, .invalid), Outcome(.dropped),
            "NAT never touches what belongs to no connection")
        try expect(
            try Packet(from: "198.51.100.7", to: "10.0.0.1", .tcp(8001), in: "eth0"),
            Outcome(.accepted, target: "10.0.1.1:80"), "port forward, the target sees its peer")
        try expect(
            try Packet(from: "2001:db8:f::7", to: "2001:db8:0:1::1", .tcp(8001), in: "eth0"),
            Outcome(.accepted, target: "[2001:db8:0:2::1]:80"), "port forward, IPv6")
        try expect(try Packet(from: "198.51.100.7", to: "10.0.0.1", .tcp(22), in: "eth0"), Outcome(.local), "own port")
        try expect(try Packet(from: "198.51.100.7", to: "10.0.0.1", .udp(8001), in: "eth0"), Outcome(.local), "not UDP")
        try expect(
            try Packet(from: "10.0.1.5", to: "198.51.100.1", .tcp(443), in: inside, .established), Outcome(.accepted),
            "replies")
        try expect(
            try Packet(from: "172.17.0.2", to: "198.51.100.1", .tcp(443), in: "docker0"), Outcome(.noOpinion),
            "containers are not ours")
        try expect(
            try Packet(from: "198.51.100.7", to: "10.0.0.1", .tcp(9999), in: "eth0", foreignTarget: "172.17.0.2:80"),
            Outcome(.noOpinion), "others' port forwards are not opened")
        try expect(
            try Packet(from: "198.51.100.7", to: "10.0.0.1", .tcp(9999), in: "eth0", foreignTarget: "10.0.1.1:80"),
            Outcome(.noOpinion), "others' port forwards are neither opened nor closed, even to our target")
    }

    @Test func outsiderIsNotForwardedInwards() throws {
        let policy = try CompileFixtures.seed()
        let packet = try Packet(from: "198.51.100.7", to: "10.0.1.1", .tcp(80), in: "eth0")
        #expect(try trace(policy, on: CompileFixtures.single(), packet) == Outcome(.dropped))
        #expect(try trace(policy, on: CompileFixtures.double(), packet) == Outcome(.noOpinion))
        #expect(try trace(policy, on: CompileFixtures.single(vpc: ["10.0.0.0/16"]), packet) == Outcome(.noOpinion))
    }

    @Test func guardCanBeTurnedOff() throws {
        let entry = Masquerade(name: "egress", families: [.ipv4], sources: try CompileFixtures.networks("10.0.1.0/24"))
        let packet = try Packet(from: "10.0.3.5", to: "198.51.100.1", .tcp(443), in: "eth0")
        for (hasGuard, verdict) in [(true, PacketTracer.Verdict.dropped), (false, .noOpinion)] {
            let policy = CompileFixtures.policy([entry], guard: hasGuard)
            for facts in [try CompileFixtures.single(), try CompileFixtures.single(vpc: ["10.0.0.0/16"])] {
                #expect(try trace(policy, on: facts, packet).verdict == verdict)
            }
        }
    }

    @Test func guardHoldsInAFamilyThatIsForwardedAndNotMasqueraded() throws {
        let entry = Masquerade(name: "egress", families: [.ipv4], sources: try CompileFixtures.networks("10.0.1.0/24"))
        let packet = try Packet(from: "2001:db8:0:2::5", to: "2001:db8:f::1", .tcp(443), in: "eth0")
        for facts in [try CompileFixtures.single(), try CompileFixtures.single(vpc: ["2001:db8:0:2::/64"])] {
            #expect(try trace(CompileFixtures.policy([entry]), on: facts, packet).verdict == .dropped)
        }
    }

    @Test func firstEntryThatMatchesDecides() throws {
        let policy = CompileFixtures.policy([
            Masquerade(
                name: "few", families: [.ipv4], sources: try CompileFixtures.networks("10.0.1.0/24"),
                except: [try CIDR("192.0.2.0/24")]),
            Masquerade(
                name: "all", families: [.ipv4], sources: try CompileFixtures.networks("10.0.0.0/16"),
                except: [try CIDR("198.51.100.0/24")]),
        ])
        let facts = try CompileFixtures.single()
        for (source, destination, isMasqueraded) in [
            ("10.0.1.5", "198.51.100.1", true), ("10.0.2.5", "198.51.100.1", false),
            ("10.0.1.5", "192.0.2.1", false), ("10.0.2.5", "192.0.2.1", true),
        ] {
            let packet = try Packet(from: source, to: destination, .tcp(443), in: "eth0")
            #expect(try trace(policy, on: facts, packet) == Outcome(.accepted, isMasqueraded: isMasqueraded))
        }
    }

    @Test func sourcesLimitAPortForward() throws {
        let policy = CompileFixtures.policy([], [try CompileFixtures.forward(sources: ["198.51.100.0/24"])])
        let facts = try CompileFixtures.single()
        let allowed = try Packet(from: "198.51.100.7", to: "10.0.0.1", .tcp(8001), in: "eth0")
        let other = try Packet(from: "203.0.113.7", to: "10.0.0.1", .tcp(8001), in: "eth0")
        #expect(try trace(policy, on: facts, allowed) == Outcome(.accepted, target: "10.0.1.1:80"))
        #expect(try trace(policy, on: facts, other) == Outcome(.local))
    }

    @Test(arguments: ["1.8.4", "1.8.9", "1.10.0"])
    func rangesMapOneToOne(version: String) throws {
        var facts = try CompileFixtures.double()
        facts.iptables.version = version
        let policy = CompileFixtures.policy(
            [],
            [
                try CompileFixtures.forward("shifted", "8000-8019", to: "10.0.1.1:9000-9019"),
                try CompileFixtures.forward("kept", "7000-7009", to: "10.0.1.2:7000-7009", .udp),
                try CompileFixtures.forward("shifted6", "8000-8019", to: "[2001:db8:0:2::1]:9000-9019"),
            ])
        for (packet, target) in [
            (try Packet(from: "198.51.100.7", to: "10.0.0.1", .tcp(8000), in: "eth0"), "10.0.1.1:9000"),
            (try Packet(from: "198.51.100.7", to: "10.0.0.1", .tcp(8019), in: "eth0"), "10.0.1.1:9019"),
            (try Packet(from: "198.51.100.7", to: "10.0.0.1", .udp(7005), in: "eth0"), "10.0.1.2:7005"),
            (
                try Packet(from: "2001:db8:f::7", to: "2001:db8:0:1::1", .tcp(8007), in: "eth0"),
                "[2001:db8:0:2::1]:9007"
            ),
        ] {
            #expect(try trace(policy, on: facts, packet) == Outcome(.accepted, target: target))
        }
        let outside = try Packet(from: "198.51.100.7", to: "10.0.0.1", .tcp(8020), in: "eth0")
        #expect(try trace(policy, on: facts, outside) == Outcome(.local))
        let rules = try compile(policy, on: facts).ruleset.ipv4
        let mappings = rules.nat.chains.flatMap(\.rules).count { if case .dnat = $0.target { true } else { false } }
        #expect(mappings == (version == "1.8.4" ? 21 : 2))
        // Twenty rules of one port each are no chain to walk through.
        #expect(rules.nat.chains.count == (version == "1.8.4" ? 5 : 1))
        #expect(
            rules.filter.chains.first?.rules.count { $0.connection.contains { $0.states == [.dnat] && !$0.isInverted } }
                == 2)
    }

    @Test(arguments: try Host.all())
    func hairpinWorksForOwnAndPublicAddress(host: Host) throws {
        let egress = Masquerade(
            name: "egress", families: [.ipv4], sources: try CompileFixtures.networks("10.0.0.0/16"),
            except: [try CIDR("10.0.0.0/8")])
        let policy = CompileFixtures.policy(
            [egress], [try CompileFixtures.forward(sources: ["198.51.100.0/24"], hairpin: true)])
        for address in ["10.0.0.1", "203.0.113.10"] {
            let client = try Packet(from: "10.0.1.5", to: address, .tcp(8001), in: host.inside)
            #expect(
                try trace(policy, on: host.facts, client)
                    == Outcome(.accepted, target: "10.0.1.1:80", isMasqueraded: true))
        }
        let outsider = try Packet(from: "198.51.100.7", to: "10.0.0.1", .tcp(8001), in: "eth0")
        #expect(try trace(policy, on: host.facts, outsider) == Outcome(.accepted, target: "10.0.1.1:80"))
        let stranger = try Packet(from: "192.0.2.7", to: "10.0.0.1", .tcp(8001), in: "eth0")
        #expect(try trace(policy, on: host.facts, stranger) == Outcome(.local))
    }

    @Test func targetCanSeeTheInstanceAsPeer() throws {
        let policy = CompileFixtures.policy([], [try CompileFixtures.forward(masquerade: true)])
        let packet = try Packet(from: "198.51.100.7", to: "10.0.0.1", .tcp(8001), in: "eth0")
        #expect(
            try trace(policy, on: CompileFixtures.double(), packet)
                == Outcome(.accepted, target: "10.0.1.1:80", isMasqueraded: true))
    }

    @Test func anyOnOneInterfaceHidesPeersAsTheSeedDoes() throws {
        let policy = CompileFixtures.policy(
            [Masquerade(name: "egress", families: [.ipv4], sources: .any)], [try CompileFixtures.forward()])
        let packet = try Packet(from: "198.51.100.7", to: "10.0.0.1", .tcp(8001), in: "eth0")
        #expect(
            try trace(policy, on: CompileFixtures.single(), packet)
                == Outcome(.accepted, target: "10.0.1.1:80", isMasqueraded: true))
        #expect(
            try trace(policy, on: CompileFixtures.double(), packet) == Outcome(.accepted, target: "10.0.1.1:80"))
    }

    @Test func redirectsAreDroppedOnOneInterfaceOnly() throws {
        func chains(_ facts: HostFacts) throws -> [String] {
            try compile(CompileFixtures.seed(), on: facts).ruleset.ipv6.filter.chains.map(\.name)
        }
        #expect(try chains(CompileFixtures.single()) == ["NATFLEET-FWD", "NATFLEET-OUT"])
        #expect(try chains(CompileFixtures.double()) == ["NATFLEET-FWD"])
    }
}
