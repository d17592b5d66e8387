// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: natfleet contributors

import FleetModel
import NATPolicy
import NetAddress
import Synchronization
import TestSupport
import Testing

@testable import AgentCore
@testable import AgentDataplane

/// What is on disk is looked after, at little cost, and without carrying there what others have in the kernel for a minute.
struct DiskCareTests {
    private let host: FakeHost
    private let disk: FakeDisk
    private let agent: Reconciler

    init() async throws {
        host = try FakeHost()
        host.change { $0.generation = 1 }
        disk = try FakeDisk(.redHat, of: host)
        agent = host.start(persistence: disk)
        #expect(await agent.apply(try FakeHost.desired()).status.conditions.isEmpty)
        _ = await agent.reconcile(.everything)
    }

    /// Of the disk, whatever clients there are.
    private func codes(_ look: Look) async -> [String] {
        await agent.reconcile(look).status.conditions.map(\.code).filter { $0 != "no-client-traffic" }
    }

    private func addForeignRule() throws {
        try host.change { try $0.tables[.ipv4]?.restore("*filter\n-A INPUT -s 192.0.2.9/32 -j DROP\nCOMMIT\n") }
    }

    private var savedForeignRule: Bool { disk.machine.saved(.ipv4, .redHat)?.contains("192.0.2.9") ?? false }

    // MARK: natfleet's own files

    @Test(arguments: [StateFile.applied, .rulesIPv4, .rulesIPv6], [nil, "nonsense"])
    func ownFilesThatSomebodyTidiedAwayAreWrittenAgain(_ file: StateFile, _ text: String?) async throws {
        let before = host.files.contents.withLock { $0 }
        host.files.contents.withLock { $0[file] = text.map { Array($0.utf8) } }
        #expect(await agent.reconcile(.everything).status.conditions.isEmpty)
        #expect(host.files.contents.withLock { $0 } == before)
    }

    @Test func anAgentThatStartsWritesWhatIsMissing() async throws {
        let before = host.files.contents.withLock { $0 }
        host.files.contents.withLock { $0[.rulesIPv4] = nil }
        _ = await host.start(persistence: disk).reconcile(.everything)
        #expect(host.files.contents.withLock { $0 } == before)
    }

    @Test func whatTheDiskDidNotKeepIsNotPersisted() async throws {
        let other = try FakeHost.desired(to: "10.0.1.81:80")
        let report = await agent.apply(other) { host.faults.fail(.keepFile) }
        #expect(report.status.conditions.map(\.code) == ["not-persisted"])
        #expect(report.status.conditions.first?.message.contains("rules.v4 reads back otherwise") == true)
        host.faults.fail()
        host.clock.advance(1)
        #expect(await agent.reconcile(.glance).status.conditions.isEmpty)
    }

    // MARK: The distribution's

    @Test func savedFilesThatWereTamperedWithAreSavedAgainAtStart() async throws {
        let saved = try #require(disk.machine.saved(.ipv6, .redHat))
        try disk.machine.write("etc/sysconfig/ip6tables", saved.replacing("eth0", with: "eth1"))
        let report = await host.start(persistence: disk).reconcile(.everything)
        #expect(report.status.conditions.isEmpty && report.status.drift == nil)
        let now = try #require(disk.machine.saved(.ipv6, .redHat))
        #expect(SavedRules(now).isSame(as: SavedRules(saved)))
    }

    /// What is wrong has nothing to do with rules: they are right on disk, and stay as they are there.
    @Test func aUnitThatIsMaskedIsNoReasonToSaveRules() async throws {
        try disk.machine.unit("natfleet-forwarding.service", "masked masked inactive")
        host.clock.advance(3600)
        try addForeignRule()
        for _ in 0..<5 {
            #expect(await codes(.everything) == ["not-persisted"])
            host.clock.advance(300)
        }
        #expect(!savedForeignRule)
        try disk.machine.unit("natfleet-forwarding.service", "loaded enabled inactive")
        #expect(await codes(.everything).isEmpty && !savedForeignRule)
    }

    @Test func onlyTheFamilyThatIsWrongIsSaved() async throws {
        try disk.machine.remove("etc/sysconfig/ip6tables")
        try addForeignRule()
        host.clock.advance(3600)
        #expect(await codes(.everything).isEmpty)
        #expect(disk.machine.saved(.ipv6, .redHat)?.contains("NATFLEET") == true && !savedForeignRule)
    }

    @Test func aDiskThatTakesNothingIsTriedLessAndLess() {
        var record = DiskRecord()
        let pauses = (0..<11).map { _ in
            record.end(isPersisted: false, 0)
            return record.pause
        }
        #expect(pauses == [1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300])
        record.end(isPersisted: true, 0)
        record.end(isPersisted: false, 0)
        #expect(record.pause == 1)
    }

    @Test func betweenTwoTriesNobodyIsAsked() async throws {
        try disk.machine.unit("natfleet-forwarding.service", "masked masked inactive")
        host.clock.advance(3600)
        for _ in 0..<4 {
            _ = await agent.reconcile(.everything)
            host.clock.advance(8)
        }
        #expect(await codes(.everything) == ["not-persisted"])
        try disk.machine.unit("natfleet-forwarding.service", "loaded enabled inactive")
        // 1, 2, 4, 8, and then 16.
        host.clock.advance(15)
        #expect(await codes(.everything) == ["not-persisted"])
        host.clock.advance(1)
        #expect(await codes(.glance).isEmpty)
    }
}
