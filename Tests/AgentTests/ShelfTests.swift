// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: natfleet contributors

import AgentDataplane
import FleetModel
import Foundation
import NATPolicy
import NetAddress
import Synchronization
import TestSupport
import Testing

@testable import AgentCore

/// Port forwards that wait outside of memory are there whenever they are needed, and lost ones never take rules away.
struct ShelfTests {
    /// A disk that counts, and loses what it holds when told to.
    private final class Disk: Sendable {
        let state = Mutex((writes: 0, reads: 0, isLost: false))

        func shelve(_ bytes: [UInt8]) -> (@Sendable () throws(StateFileError) -> [UInt8])? {
            state.withLock { $0.writes += 1 }
            return { () throws(StateFileError) in
                let isLost = self.state.withLock { state in
                    state.reads += 1
                    return state.isLost
                }
                if isLost { throw StateFileError("input/output error") }
                return bytes
            }
        }

        var counts: [Int] { state.withLock { [$0.writes, $0.reads] } }
    }

    private let host: FakeHost
    private let agent: Reconciler
    private let disk = Disk()
    private let rules: String

    init() async throws {
        host = try FakeHost()
        host.change { $0.generation = 1 }
        agent = host.start(shelve: disk.shelve)
        _ = await agent.apply(try FakeHost.desired())
        // The first look reads everything, the second one has nothing to do.
        for _ in 0..<2 { _ = await agent.reconcile(.everything) }
        #expect(disk.counts == [1, 0])
        rules = host.rules(.ipv4)
        #expect(rules.contains("DNAT"))
    }

    @Test func nothingIsReadWhileNothingMoves() async throws {
        for look in [Look.glance, .everything, .glance] {
            let report = await agent.reconcile(look)
            #expect(report.status.conditions.isEmpty && report.look.rules == 4)
        }
        #expect(disk.counts == [1, 0])
    }

    @Test func aRepairPutsPortForwardsBack() async throws {
        try host.change {
            try $0.tables[.ipv4]?.restore("*nat\n-F NATFLEET-PRE\nCOMMIT\n")
            $0.generation = 2
        }
        #expect(await agent.reconcile(.glance).status.conditions.map(\.code) == ["drift-repaired"])
        #expect(host.rules(.ipv4) == rules && disk.counts == [1, 1])
        _ = await agent.reconcile(.glance)
        #expect(disk.counts == [2, 1], "and they are put away again")
    }

    @Test func aChangeStartsFromAllThatRuns() async throws {
        let report = await agent.apply(try FakeHost.desired(to: "10.0.1.81:80"), confirmed: false)
        #expect(report.outcome?.result == .reverted && host.rules(.ipv4) == rules)
        let next = try #require(await host.start().firstStatus.runningHash)
        #expect(next == report.status.runningHash)
    }

    @Test(arguments: [false, true]) func aFileThatCannotBeReadTakesNoRulesAway(isTheOtherToo: Bool) async throws {
        disk.state.withLock { $0.isLost = true }
        if isTheOtherToo { try host.files.write(.applied, Array("{".utf8)) }
        try host.change {
            try $0.tables[.ipv4]?.restore("*nat\n-F NATFLEET-POST\nCOMMIT\n")
            $0.generation = 2
        }
        let codes = await agent.reconcile(.glance).status.conditions.map(\.code)
        if isTheOtherToo {
            #expect(codes.contains("not-persisted") && host.rules(.ipv4).contains("DNAT"))
        } else {
            #expect(codes == ["drift-repaired"] && host.rules(.ipv4) == rules)
        }
    }

    @Test func aFileWithoutANameGivesBackWhatItTook() throws {
        let folder = FileManager.default.temporaryDirectory.appendingPathComponent("natfleet-\(UUID())").path
        defer { try? FileManager.default.removeItem(atPath: folder) }
        let files = try DirectoryStateFiles(directory: folder)
        let bytes = (0..<200_000).map { UInt8(truncatingIfNeeded: $0) }
        let read = try #require(files.shelve(bytes))
        for _ in 0..<2 { #expect(try read() == bytes) }
        #expect(try FileManager.default.contentsOfDirectory(atPath: folder).isEmpty)
        #expect(DirectoryStateFiles(reading: "/nowhere").shelve(bytes) == nil)
    }
}
