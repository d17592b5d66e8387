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
        _ entries: [PortForward], _ spelling: inout [IPFamily: Spelling], isNew: Bool = false
    ) async throws -> [String] {
        var policy = try FakeHost.desired().policy
        policy.dnat = entries.map { EffectivePolicy.Layered(policy: "web", entry: $0) }
        var change = Change(kernel: host.kernel, files: host.files, spelling: spelling)
        let prepared = try await change.prepare(
            Target(try compile(policy, on: try FakeHost.facts())), isNew: isNew)
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

    @Test func aTrialWaitsForNoLookAndRehearsesWhatItHasNotLoaded() async throws {
        var spelling: [IPFamily: Spelling] = [:]
        #expect(try await !run(try forwards(3), &spelling, isNew: true).isEmpty)
        #expect(rehearsed().count == 2)
        #expect(try await run(try forwards(3), &spelling, isNew: true).isEmpty)
        #expect(rehearsed().isEmpty)
        // It stands there, which this agent cannot know before it has looked.
        spelling = [:]
        #expect(try await run(try forwards(3), &spelling, isNew: true).isEmpty)
        #expect(rehearsed().count == 2)
    }

    @Test func aSmallRulesetIsRehearsedWholeWhateverChanges() async throws {
        var spelling: [IPFamily: Spelling] = [:]
        _ = try await run(try forwards(10), &spelling)
        _ = rehearsed()
        _ = try await run(try forwards(10, to: [6: "10.0.1.81:80"]), &spelling)
        let texts = rehearsed()
        #expect(texts.count == 1 && texts[0].split(separator: "\n").count { $0.contains("-j DNAT") } == 10)
    }

    @Test func theTablesOfALargeRulesetAreRehearsedWholeSideBySide() async throws {
        var spelling: [IPFamily: Spelling] = [:]
        for targets in [[:], [110: "10.0.1.81:80"]] {
            _ = try await run(try forwards(200, to: targets), &spelling)
            let texts = rehearsed().filter { $0.contains("natfleet:web/p") }
            #expect(texts.count == 2)
            for (table, target) in [("nat", " -j DNAT"), ("filter", "--ctorigdstport")] {
                let text = try #require(texts.first { $0.hasPrefix("*\(table)\n") })
                #expect(text.split(separator: "\n").count { $0.hasPrefix("*") } == 1)
                let rules = text.split(separator: "\n").filter { $0.contains(target) && $0.contains("natfleet:web/") }
                #expect(rules.count == 200)
            }
        }
        #expect(try await run(try forwards(200, to: [110: "10.0.1.81:80"]), &spelling).isEmpty)
        #expect(rehearsed().isEmpty)
    }

    @Test func oneTableThatReadsBackOtherwiseIsEnough() async throws {
        var spelling: [IPFamily: Spelling] = [:]
        host.change { machine in machine.spelling = { $0.contains("NATFLEET-PRE") ? "" : $0 } }
        await #expect(throws: ChangeFailure.self) { _ = try await run(try forwards(200), &spelling) }
        #expect(host.touched().isEmpty)
    }

    @Test func whatStoodInTheKernelIsKnownOnceItIsGone() async throws {
        var spelling: [IPFamily: Spelling] = [:]
        _ = try await run(try forwards(3), &spelling)
        spelling = [:]
        #expect(try await run(try forwards(3), &spelling).isEmpty)
        _ = rehearsed()
        host.change { machine in machine.tables[.ipv4] = machine.tables[.ipv6] }
        #expect(try await !run(try forwards(3), &spelling).isEmpty)
        #expect(rehearsed().isEmpty)
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
