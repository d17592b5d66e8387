// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: natfleet contributors

import NATPolicy
import NetAddress
import Netfilter
import TestSupport
import Testing

/// Every step of every plan between two policies, with packets sent after each.
struct CompileTransitionTests {
    private struct Probe {
        let packet: PacketTracer.Packet
        let name: String
    }

    @Test func noStepLeaksOrRefusesWhatIsAllowedBeforeAndAfter() throws {
        var random = SeededGenerator(seed: 1_234)
        let hosts = try CompileTraceTests.Host.all()
        var moves = 0
        for round in 0..<100 {
            let host = try #require(hosts.randomElement(using: &random))
            let old = try randomPolicy(using: &random)
            let new = try randomPolicy(using: &random)
            guard let first = try? compile(old, on: host.facts), let last = try? compile(new, on: host.facts) else {
                continue
            }
            let probes = try probes(inside: host.inside)
            for family in IPFamily.allCases {
                let (from, to) = (first.ruleset[family].ownedState, last.ruleset[family].ownedState)
                let (start, end) = (
                    try PacketTracer(from, on: host.facts), try PacketTracer(to, on: host.facts)
                )
                var kernel = FakeNetfilter()
                try kernel.restore(renderRestore(from))
                for (number, step) in plan(from: from, to: to).steps.enumerated() {
                    moves += 1
                    try kernel.restore(step.text)
                    let between = try PacketTracer(OwnedState(parsing: kernel.save()), on: host.facts)
                    for probe in probes where probe.packet.source.family == family {
                        let outcomes = try [start, between, end].map { try $0.trace(probe.packet) }
                        let problem = problem(before: outcomes[0], between: outcomes[1], after: outcomes[2])
                        #expect(
                            problem == nil,
                            "round \(round), \(host.testDescription), step \(number), \(probe.name): \(outcomes)")
                    }
                }
            }
        }
        #expect(moves > 200)
    }

    /// Around the number at which the tree begins, with ranges that cross its borders: every port after every step.
    @Test func noStepBetweenChainAndTreeRefusesOrMisleads() throws {
        var random = SeededGenerator(seed: 4_321)
        let facts = try CompileFixtures.single(vpc: ["10.0.0.0/16"])
        func forwards() throws -> [PortForward] {
            try CompileFixtures.randomForwards(
                Int.random(in: 12...22, using: &random), .tcp, from: 7_980, spread: 4, using: &random)
        }
        for round in 0..<24 {
            let first = try forwards()
            var second = try forwards()
            if round % 2 == 0 {
                second = first.filter { _ in Int.random(in: 0...5, using: &random) > 0 }
                for index in second.indices where Int.random(in: 0...3, using: &random) == 0 {
                    second[index].to = try Endpoint("10.0.1.9:\(second[index].to.ports)")
                }
            }
            let states = try [first, second].map { forwards in
                let policy = CompileFixtures.policy([try CompileFixtures.egress()], forwards)
                return try compile(policy, on: facts).ruleset.ipv4.ownedState
            }
            let last = Int((first + second).map(\.port.last).max() ?? 8_000)
            let packets = try stride(from: 7_980, through: last, by: 3).map { port in
                try PacketTracer.Packet(
                    from: port % 2 == 0 ? "198.51.100.7" : "10.0.1.5", to: "10.0.0.1", .tcp(UInt16(port)), in: "eth0")
            }
            let ends = try states.map { state in
                let tracer = try PacketTracer(state, on: facts)
                return try packets.map { try tracer.trace($0) }
            }
            var kernel = FakeNetfilter()
            try kernel.restore(renderRestore(states[0]))
            for (number, step) in plan(from: states[0], to: states[1]).steps.enumerated() {
                try kernel.restore(step.text)
                let tracer = try PacketTracer(OwnedState(parsing: kernel.save()), on: facts)
                for (index, packet) in packets.enumerated() {
                    let between = try tracer.trace(packet)
                    let problem = problem(before: ends[0][index], between: between, after: ends[1][index])
                    #expect(problem == nil, "round \(round), step \(number), \(packet.payload): \(between)")
                }
            }
            #expect(try OwnedState(parsing: kernel.save()) == states[1], "round \(round)")
        }
    }

    private func problem(
        before: PacketTracer.Outcome, between: PacketTracer.Outcome, after: PacketTracer.Outcome
    ) -> String? {
        if between.verdict == .accepted, between.target == nil, !between.isMasqueraded,
            !(before.verdict == .accepted && !before.isMasqueraded),
            !(after.verdict == .accepted && !after.isMasqueraded)
        {
            return "leaves untranslated"
        }
        if before.verdict == .accepted, after.verdict == .accepted, between.verdict != .accepted {
            return "refused, though allowed before and after"
        }
        if before.verdict == .dropped, after.verdict == .dropped, between.verdict != .dropped { return "guard gone" }
        if between.verdict == .noOpinion, before.verdict != .noOpinion, after.verdict != .noOpinion {
            return "left to others"
        }
        if between.target != before.target, between.target != after.target { return "sent astray" }
        return nil
    }

    private func randomPolicy(using random: inout SeededGenerator) throws -> EffectivePolicy {
        let sources = ["10.0.1.0/24", "10.0.0.0/16", "192.168.7.0/24", "2001:db8:0:2::/64", "2001:db8:77::/64"]
        let exceptions = ["10.0.0.0/8", "198.51.100.0/24", "2001:db8:f::/48"]
        var masquerades: [Masquerade] = []
        for number in 0..<Int.random(in: 0...2, using: &random) {
            let chosen = sources.filter { _ in Bool.random(using: &random) }
            guard !chosen.isEmpty else { continue }
            masquerades.append(
                Masquerade(
                    name: "m\(number)",
                    sources: .networks(try chosen.map { try CIDR($0) }),
                    except: try exceptions.filter { _ in Int.random(in: 0...3, using: &random) == 0 }.map {
                        try CIDR($0)
                    }))
        }
        var forwards: [PortForward] = []
        for port in 8001...8003 where Bool.random(using: &random) {
            let target = Int.random(in: 1...2, using: &random)
            forwards.append(
                try CompileFixtures.forward(
                    "f\(port)", "\(port)", to: "10.0.1.\(target):80", masquerade: Bool.random(using: &random),
                    hairpin: Bool.random(using: &random)))
            forwards.append(try CompileFixtures.forward("g\(port)", "\(port)", to: "[2001:db8:0:2::\(target)]:80"))
        }
        return CompileFixtures.policy(masquerades, forwards)
    }

    private func probes(inside: String) throws -> [Probe] {
        var probes: [Probe] = []
        for (source, destinations) in [
            ("10.0.1.5", ["198.51.100.1", "192.0.2.1", "10.9.9.9"]), ("10.0.3.5", ["198.51.100.1", "10.9.9.9"]),
            ("192.168.7.5", ["198.51.100.1", "192.0.2.1"]), ("2001:db8:0:2::5", ["2001:db8:f::1", "2001:db8:e::1"]),
            ("2001:db8:77::5", ["2001:db8:f::1", "2001:db8:e::1"]),
        ] {
            for destination in destinations {
                probes.append(
                    Probe(
                        packet: try .init(from: source, to: destination, .tcp(443), in: inside),
                        name: "\(source) to \(destination)"))
            }
        }
        for port in UInt16(8001)...8003 {
            for (source, destination) in [("198.51.100.7", "10.0.0.1"), ("2001:db8:f::7", "2001:db8:0:1::1")] {
                probes.append(
                    Probe(
                        packet: try .init(from: source, to: destination, .tcp(port), in: "eth0"),
                        name: "outsider to \(port)"))
            }
            probes.append(
                Probe(
                    packet: try .init(from: "10.0.1.5", to: "10.0.0.1", .tcp(port), in: inside),
                    name: "client to \(port)"))
        }
        return probes
    }
}
