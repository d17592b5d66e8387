// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: natfleet contributors

import FleetAPI
import FleetModel
import NATPolicy
import NetAddress
import Synchronization
import TestSupport
import Testing

@testable import AgentCore

/// A state folder that takes nothing, or that gives back something else than was written.
struct DiskFaultTests {
    private let host: FakeHost
    private let asApplied: [String]

    init() async throws {
        host = try FakeHost()
        _ = await host.start().apply(try FakeHost.desired())
        asApplied = host.state
    }

    private func isThere(_ file: StateFile) -> Bool { host.files.contents.withLock { $0[file] != nil } }

    /// What became of a trial is told while it cannot be kept, and kept as soon as it can.
    @Test func theEndOfATrialIsMadeUpFor() async throws {
        let agent = host.start()
        let other = try FakeHost.desired(to: "10.0.1.81:80")
        _ = await agent.apply(other, confirmed: false) { host.faults.fail(.writeFile) }
        #expect(host.state == asApplied && isThere(.trial) && !isThere(.refusal))
        let report = await agent.reconcile()
        #expect(report.status.conditions.map(\.code) == ["not-persisted", "trial-reverted"])
        #expect(report.status.conditions.first?.message.hasSuffix("cannot write refusal.json") == true)

        // The next agent takes back what is taken back, and keeps NAT in repair without writing a line.
        let next = host.start()
        _ = await next.start()
        try host.change { try $0.tables[.ipv4]?.restore("*nat\n-F NATFLEET-POST\nCOMMIT\n") }
        #expect(await next.reconcile().status.conditions.contains { $0.code == "not-persisted" })
        #expect(host.state == asApplied)

        host.faults.fail()
        let codes = await next.reconcile().status.conditions.map(\.code)
        #expect(codes == ["trial-reverted", "drift-repaired"])
        #expect(!isThere(.trial) && isThere(.refusal))
    }

    /// Turned off while the disk takes nothing: forwarding goes back, and what was found is forgotten with the next change.
    @Test func valuesGoBackWithoutADisk() async throws {
        let fresh = try FakeHost()
        let before = fresh.state
        var change = Change(kernel: fresh.kernel, files: fresh.files)
        let on = try compile(try FakeHost.desired().policy, on: try FakeHost.facts())
        _ = try await change.perform(try await change.prepare(Target(on)))
        fresh.faults.fail(.writeFile)
        _ = try await change.perform(try await change.prepare(Target()))
        #expect(fresh.state == before)
        fresh.faults.fail()
        _ = try await change.perform(try await change.prepare(Target()))
        #expect(try fresh.state == before && fresh.found.isEmpty)
    }

    // MARK: applied.json cannot be understood

    @Test func bootTakesTheRulesBesideIt() async throws {
        host.files.contents.withLock { $0[.applied] = Array("{\"desired\":".utf8) }
        try host.reboot()
        // As systemd-sysctl sets them before.
        let settings = ["net.ipv6.conf.eth0.accept_ra": "2", "net.ipv4.conf.eth0.send_redirects": "0"]
        host.change { machine in machine.sysctls.merge(settings) { $1 } }
        let found = try host.found
        #expect(await host.start().restore())
        #expect(host.isForwarding == [true, true] && host.leaks.isEmpty)
        for family in IPFamily.allCases {
            #expect(asApplied.contains(host.rules(family)), "\(family)")
        }
        for (key, value) in settings { #expect(host.sysctl(key) == value) }
        #expect(try host.found == found)

        // The agent says so until the controller has told it what to run.
        let agent = host.start()
        let condition = try #require(await agent.start().status.conditions.first)
        #expect(condition.code == "not-persisted" && condition.message.contains("applied.json cannot be understood"))
        #expect(await agent.apply(try FakeHost.desired()).status.conditions.isEmpty)
        #expect(host.state == asApplied && host.leaks.isEmpty)
    }

    /// A family without rules is not forwarded.
    @Test func onlyFamiliesWithRulesAreForwarded() async throws {
        host.files.contents.withLock { ($0[.applied], $0[.rulesIPv6]) = ([1], []) }
        try host.reboot()
        #expect(await host.start().restore())
        #expect(host.isForwarding == [true, false] && !host.rules(.ipv6).contains("NATFLEET"))
    }

    @Test(arguments: [nil, "*nat\n-A NATFLEET-POST -j MASQ", "# nothing\n"])
    func withoutRulesItDoesNotForward(_ text: String?) async throws {
        host.files.contents.withLock { files in
            files[.applied] = []
            for file in [StateFile.rulesIPv4, .rulesIPv6] { files[file] = text.map { Array($0.utf8) } }
        }
        try host.reboot()
        #expect(await host.start().restore() == false)
        #expect(host.isForwarding == [false, false])
    }

    /// Rules that cannot be loaded, or read back: forwarding stays off.
    @Test(arguments: [Faults.Operation.restore, .rehearse, .observe])
    func rulesThatWereNotCheckedDoNotForward(_ broken: Faults.Operation) async throws {
        host.files.contents.withLock { $0[.applied] = [1] }
        try host.reboot()
        host.faults.fail(broken)
        #expect(await host.start().restore() == false)
        #expect(host.isForwarding == [false, false])
    }
}
