// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: natfleet contributors

import FleetAPI
import NATPolicy
import NetAddress
import Netfilter
import Synchronization
import Testing

@testable import AgentCore

/// What is loaded into a throwaway namespace before a change, and what comes of how the host prints it.
struct SpellingTests {
    private let host: FakeHost

    init() throws { host = try FakeHost() }

    /// Keeps what it learned in `spelling`, as an agent does between two looks.
    private func run(
        _ entries: [PortForward], _ spelling: inout [IPFamily: Spelling]
    ) async throws -> [String] {
        var policy = try FakeHost.desired().policy
        policy.dnat = entries.map { EffectivePolicy.Layered(policy: "web", entry: $0) }
        var change = Change(kernel: host.kernel, files: host.files, spelling: spelling)
        let prepared = try await change.prepare(Target(try compile(policy, on: try FakeHost.facts())))
        defer { spelling = change.spelling }
        return try await change.perform(prepared).differences
    }

    private func forwards(_ count: Int, to targets: [Int: String] = [:]) throws -> [PortForward] {
        try (0..<count).map { number in
            PortForward(
                name: "p\(number)", protocol: .tcp, port: try PortRange(UInt16(10_000 + number)),
                to: try Endpoint(targets[number] ?? "10.0.1.80:80"))
        }
    }

    /// The longest first, since the families go side by side.
    private func rehearsed() -> [String] {
        host.kernel.machine.withLock { machine in
            defer { machine.rehearsed = [] }
            return machine.rehearsed.sorted { $0.utf8.count > $1.utf8.count }
        }
    }

    @Test func whatIsKnownIsRehearsedOnce() async throws {
        var spelling: [IPFamily: Spelling] = [:]
        #expect(try await !run(try forwards(3), &spelling).isEmpty)
        #expect(rehearsed().count == 2)
        host.change { machine in machine.tables[.ipv4] = machine.tables[.ipv6] }
        #expect(try await !run(try forwards(3), &spelling).isEmpty)
        #expect(rehearsed().isEmpty)
    }

    @Test func whatIsInTheKernelInTheSameWordsIsNotRehearsed() async throws {
        var spelling: [IPFamily: Spelling] = [:]
        _ = try await run(try forwards(3), &spelling)
        _ = rehearsed()
        spelling = [:]
        #expect(try await run(try forwards(3), &spelling).isEmpty)
        #expect(rehearsed().isEmpty)
    }

    @Test func aSmallRulesetIsRehearsedWholeWhateverChanges() async throws {
        var spelling: [IPFamily: Spelling] = [:]
        _ = try await run(try forwards(200), &spelling)
        _ = rehearsed()
        _ = try await run(try forwards(200, to: [110: "10.0.1.81:80"]), &spelling)
        let texts = rehearsed()
        #expect(texts.count == 1 && texts[0].split(separator: "\n").count { $0.contains("-j DNAT") } == 200)
    }

    @Test func ofALargeRulesetTheNewChainsAreRehearsedWithTheWaysThatLeadThere() async throws {
        var spelling: [IPFamily: Spelling] = [:]
        _ = try await run(try forwards(1200), &spelling)
        #expect(rehearsed()[0].split(separator: "\n").count { $0.contains("-j DNAT") } == 1200)
        _ = try await run(try forwards(1200, to: [110: "10.0.1.81:80"]), &spelling)
        let texts = rehearsed()
        #expect(texts.count == 1)
        let lines = try #require(texts.first).split(separator: "\n")
        let chains = lines.filter { $0.hasPrefix(":") }.map { $0.prefix { $0 != " " }.split(separator: "-")[1] }
        for (chain, target) in [("PRE", " -j DNAT"), ("FWD", " -j ACCEPT")] {
            #expect(chains.count { $0 == chain } == 5, "the chain, its root, a thousand, a hundred, 25")
            let rules = lines.filter { $0.hasPrefix("-A NATFLEET-\(chain)") }
            #expect(rules.count { $0.contains(target) } == 25 && rules.count == 25 + 4, "\(rules)")
        }
        #expect(lines.contains { $0.hasSuffix("-j DNAT --to-destination 10.0.1.81:80") })
        #expect(lines.contains("-A PREROUTING -j NATFLEET-PRE") && lines.contains("-A FORWARD -j NATFLEET-FWD"))
        #expect(try await run(try forwards(1200, to: [110: "10.0.1.81:80"]), &spelling).isEmpty)
    }

    @Test func aHostThatPrintsRulesOtherwiseIsComparedInItsOwnWords() async throws {
        host.change { machine in
            machine.spelling = { $0.replacing("--ctstate RELATED,ESTABLISHED", with: "--state ESTABLISHED,RELATED") }
        }
        var spelling: [IPFamily: Spelling] = [:]
        #expect(try await !run(try forwards(3), &spelling).isEmpty)
        #expect(rehearsed().count == 2)
        _ = host.touched()
        #expect(try await run(try forwards(3), &spelling).isEmpty)
        #expect(host.touched().isEmpty && rehearsed().isEmpty)
        // An agent that has just started has to ask again.
        spelling = [:]
        #expect(try await run(try forwards(3), &spelling).isEmpty)
        #expect(host.touched().isEmpty && rehearsed().count == 2)
    }
}
