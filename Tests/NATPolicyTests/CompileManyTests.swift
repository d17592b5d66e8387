// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: natfleet contributors

import NATPolicy
import NetAddress
import Netfilter
import TestSupport
import Testing

/// The tree of chains that many port forwards are spread over.
struct CompileManyTests {
    private let other = DestinationChoice.address(IPAddress(family: .ipv4, bits: 0x0a00_004d))

    /// Several groups on both sides of the limit.
    private func randomForwards(hairpin: Bool, using random: inout SeededGenerator) throws -> [PortForward] {
        let start = [0, 7_980, 23_000, 64_000].randomElement(using: &random) ?? 0
        let groups: [(TransportProtocol, DestinationChoice)] = [
            (.tcp, .instance), (.udp, .instance), (.tcp, other), (.udp, other),
        ]
        return try groups.flatMap { transport, destination in
            try CompileFixtures.randomForwards(
                Int.random(in: 10...40, using: &random), transport, from: start,
                spread: [1, 5, 12].randomElement(using: &random) ?? 1, destination: destination, hairpin: hairpin,
                using: &random)
        }
    }

    private func state(_ forwards: [PortForward], on facts: HostFacts) throws -> OwnedState {
        try compile(CompileFixtures.policy([CompileFixtures.egress()], forwards), on: facts).ruleset.ipv4.ownedState
    }

    @Test(arguments: ["1.8.4", "1.8.9"])
    func treeDoesWhatOneChainWouldDo(version: String) throws {
        var random = SeededGenerator(seed: 7)
        var deepest = 0
        for round in 0..<12 {
            var facts = try #require(CompileTraceTests.Host.all().randomElement(using: &random)).facts
            facts.iptables.version = version
            let forwards = try randomForwards(hairpin: true, using: &random)
            let tree = try state(forwards, on: facts)
            let flat = tree.flattened
            // Nothing lost and nothing made up: the rules that each port forward has when it is alone.
            let alone = try forwards.map { try state([$0], on: facts).flattened }
            for table in Table.allCases {
                for (name, lines) in flat[table].chains {
                    #expect(Set(lines) == Set(alone.flatMap { $0[table].chains[name] ?? [] }), "round \(round)")
                }
            }
            deepest = max(deepest, tree.nat.chains.keys.map(\.count).max() ?? 0)
            let (through, beside) = (try PacketTracer(tree, on: facts), try PacketTracer(flat, on: facts))
            for packet in try packets(forwards, using: &random) {
                let outcome = try through.trace(packet)
                #expect(try outcome == beside.trace(packet), "round \(round): \(packet)")
            }
        }
        #expect(deepest == 28)
    }

    private func packets(
        _ forwards: [PortForward], using random: inout SeededGenerator
    ) throws -> [PacketTracer.Packet] {
        try (0..<60).flatMap { _ -> [PacketTracer.Packet] in
            let ports = try #require(forwards.randomElement(using: &random)).port
            let around: [UInt16] = [ports.first, ports.last, ports.first - 1, ports.last + 1]
            let port = around.randomElement(using: &random) ?? 1
            let source = ["198.51.100.7", "192.0.2.7", "10.0.1.5"].randomElement(using: &random) ?? ""
            let destination =
                ["10.0.0.1", "10.0.0.77", "203.0.113.10", "192.0.2.9"].randomElement(using: &random) ?? ""
            return [
                try .init(from: source, to: destination, .tcp(port), in: "eth0"),
                try .init(from: source, to: destination, .udp(port), in: "eth0"),
                try .init(from: source, to: destination, .tcp(port), in: "eth0", foreignTarget: "10.0.1.1:80"),
            ]
        }
    }

    @Test func oneChangeRewritesOneChainOfATable() throws {
        var random = SeededGenerator(seed: 11)
        let facts = try CompileFixtures.single(vpc: ["10.0.0.0/16"])
        var single = 0
        for round in 0..<60 {
            let all = try randomForwards(hairpin: false, using: &random)
            let index = Int.random(in: all.indices, using: &random)
            var (before, after) = (all, all)
            switch round % 3 {
            case 0: before.remove(at: index)
            case 1: after.remove(at: index)
            default: after[index].to = try Endpoint("10.0.1.99:\(all[index].to.ports)")
            }
            let (old, new) = (try state(before, on: facts), try state(after, on: facts))
            let steps = plan(from: old, to: new).steps
            for (table, top) in [(Table.nat, "NATFLEET-PRE"), (.filter, "NATFLEET-FWD")] {
                let (had, has) = (old[table].chains, new[table].chains)
                let touched = Set(
                    steps.filter { $0.table == table }.flatMap { $0.text.split(separator: "\n") }
                        .filter { $0.hasPrefix(":") || $0.hasPrefix("-X") }
                        .compactMap { $0.split(separator: " ").first { $0.contains("NATFLEET") }?.drop { $0 == ":" } }
                        .map(String.init))
                let holding = Set(
                    [had, has].flatMap { chains in
                        chains.filter { $0.value.contains { $0.text.contains("/\(all[index].name)\"") } }.keys
                    })
                // Where a block was or gets empty, the chain above it too.
                let changed = Set(had.keys).symmetricDifference(has.keys)
                let above = Set(
                    [had, has].flatMap { chains in
                        chains.filter {
                            $0.value.contains { line in changed.contains { line.text.hasSuffix(" \($0)") } }
                        }
                        .keys
                    })
                #expect(touched == holding.union(above).union(changed), "round \(round)")
                if changed.isEmpty {
                    #expect(touched.count == 1, "round \(round)")
                    #expect(touched.contains(top) || has[touched.first ?? "", default: []].count < 100)
                    single += 1
                }
            }
        }
        #expect(single > 60)
    }

    @Test func sixteenStayInOneChain() throws {
        let facts = try CompileFixtures.single()
        for (count, chains) in [(16, 0), (17, 5)] {
            let forwards = try (0..<count).map {
                try CompileFixtures.forward("f\($0)", "\($0 == 16 ? 8125 : 8100 + $0)", masquerade: true)
            }
            let state = try state(forwards, on: facts)
            for (table, top) in [(Table.filter, "NATFLEET-FWD"), (.nat, "NATFLEET-PRE"), (.nat, "NATFLEET-POST")] {
                let below = state[table].chains.keys.filter { $0.hasPrefix("\(top)-") }
                // The address's own; 8000 to 8999, 8100 to 8199; 8100 to 8124 and 8125 to 8149.
                #expect(below.count == chains)
                #expect(below.allSatisfy { $0.utf8.count <= 28 })
            }
        }
    }

    /// 10.0.0.202 and 10.0.5.41 have the same tag.
    @Test func addressesWithTheSameTagKeepChainsOfTheirOwn() throws {
        var facts = try CompileFixtures.single()
        let addresses = ["10.0.0.202", "10.0.5.41"]
        facts.interfaces[0].addresses += try addresses.map { .init(try IPAddress($0), prefixLength: 16) }
        let groups = try addresses.enumerated().map { number, address in
            try (8001...8020).map {
                try CompileFixtures.forward(
                    "f\(number)-\($0)", "\($0)", to: "10.0.1.\(number + 1):80",
                    destination: .address(try IPAddress(address)))
            }
        }
        let alone = try groups.map { Set(try state($0, on: facts).nat.chains.keys) }
        try #require(alone[0] == alone[1])
        let both = try state(groups.flatMap(\.self), on: facts)
        #expect(both.nat.chains.count == 2 * alone[0].count - 2)
        let tracer = try PacketTracer(both, on: facts)
        for (number, address) in addresses.enumerated() {
            let outcome = try tracer.trace(.init(from: "198.51.100.7", to: address, .tcp(8020), in: "eth0"))
            #expect(outcome.target == "10.0.1.\(number + 1):80")
        }
    }

    @Test func whatIsTrueOfManyIsSaidOnce() throws {
        let forwards = try (8001...8100).map { try CompileFixtures.forward("f\($0)", "\($0)") }
        let facts = try CompileFixtures.single()
        #expect(
            try compile(CompileFixtures.policy([], forwards, guard: false), on: facts).resolved
                == ["100 port forwards: destination self is 10.0.0.1"])
        #expect(
            try compile(CompileFixtures.policy([], Array(forwards.prefix(2)), guard: false), on: facts).resolved
                == ["web/f8001, web/f8002: destination self is 10.0.0.1"])
        var cutOff = facts
        (cutOff.routes, cutOff.interfaces) = ([], [])
        let error = #expect(throws: CompileError.self) {
            try compile(CompileFixtures.policy([], forwards), on: cutOff)
        }
        #expect(error?.faults.count == 200)
        #expect(error?.description.hasSuffix("; and 190 more") == true)
    }

    /// Ten times as many take ten times as long, give or take a noisy machine; a hundred would be quadratic.
    @Test func workGrowsWithTheNumber() throws {
        let facts = try CompileFixtures.single(vpc: ["10.0.0.0/16"])
        let all = try CompileFixtures.tenThousand(.ipv4)
        let durations = try [500, 5_000].map { count in
            var forwards = Array(all.prefix(count))
            let old = try OwnedState(parsing: renderRestore(state(forwards, on: facts)))
            forwards[count / 2].to = try Endpoint("10.0.1.1:81")
            let runs = try (0..<3).map { _ in
                try ContinuousClock().measure {
                    let new = try state(forwards, on: facts)
                    let read = try OwnedState(parsing: renderRestore(new))
                    #expect(differences(of: read, from: old).count == 2)
                    #expect(plan(from: old, to: read).steps.count == 3)
                    #expect(plan(from: .none, to: read).steps.count == 3)
                    #expect(plan(from: read, to: .none).steps.count == 3)
                }
            }
            return try #require(runs.min())
        }
        #expect(durations[1] < durations[0] * 40)
    }
}
