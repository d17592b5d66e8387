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

/// Flows that began in a gap are ended, whoever made the gap and whatever kept the agent from it at first; no other flow is.
struct OwedSweepTests {
    private let host: FakeHost
    private let agent: Reconciler
    private let astray: TrackedFlow
    private let right: [TrackedFlow]

    init() async throws {
        host = try FakeHost()
        host.change { $0.generation = 1 }
        agent = host.start()
        _ = await agent.apply(try FakeHost.desired())
        _ = await agent.reconcile(.everything)
        astray = try TrackedFlow("udp 10.0.1.10:4000 198.51.100.7:53")
        right = [
            try TrackedFlow("udp 10.0.1.10:4001 198.51.100.7:53 198.51.100.7:53 10.0.0.11:4001"),
            try TrackedFlow("tcp 198.51.100.99:4002 10.0.0.11:8001 10.0.1.80:80 198.51.100.99:4002"),
            try TrackedFlow("udp 172.17.0.2:4003 198.51.100.7:53"),
        ]
        host.flows.flows.withLock { [astray, right] in $0 = [astray] + right }
    }

    private var flows: [TrackedFlow] { host.flows.flows.withLock { $0 } }

    private func flush() throws {
        try host.change { try $0.tables[.ipv4]?.restore("*nat\n-F NATFLEET-POST\nCOMMIT\n") }
    }

    @Test func aGapBetweenTwoLooks() async throws {
        _ = await agent.reconcile(.glance)
        #expect(flows.count == 4, "nothing has moved")
        // The service is restarted: rules go and come back as they were.
        host.change { $0.generation = 4 }
        #expect(await agent.reconcile(.glance).status.conditions.isEmpty)
        #expect(flows == right)
    }

    @Test func whereNobodyCountsEachWholeLook() async throws {
        host.change { $0.facts.iptables.backend = .legacy }
        for _ in 0..<2 { _ = await agent.reconcile(.everything) }
        host.flows.flows.withLock { [astray, right] in $0 = [astray] + right }
        _ = await agent.reconcile(.rules)
        #expect(flows.count == 4)
        _ = await agent.reconcile(.everything)
        #expect(flows == right)
    }

    @Test func whoeverHadTheLockOfTheLegacyBackEnd() async throws {
        final class Lock: Sendable { let count = Mutex<Int?>(0) }
        let lock = Lock()
        host.change { $0.facts.iptables.backend = .legacy }
        let agent = host.start(locks: { lock.count.withLock { $0 } })
        for _ in 0..<2 { _ = await agent.reconcile(.everything) }
        host.flows.flows.withLock { [astray, right] in $0 = [astray] + right }
        _ = await agent.reconcile(.everything)
        #expect(flows.count == 4, "nobody had it")
        // This agent itself, before its sweep.
        lock.count.withLock { $0? += 1 }
        try flush()
        _ = await agent.reconcile(.rules)
        #expect(flows == right)
        host.flows.flows.withLock { [astray, right] in $0 = [astray] + right }
        _ = await agent.reconcile(.everything)
        #expect(flows.count == 4)
        lock.count.withLock { $0? += 1 }
        _ = await agent.reconcile(.everything)
        #expect(flows == right)
        host.flows.flows.withLock { [astray, right] in $0 = [astray] + right }
        lock.count.withLock { $0 = nil }
        _ = await agent.reconcile(.everything)
        #expect(flows == right, "nobody listens any more")
    }

    @Test func aSweepThatFailsIsMadeUpFor() async throws {
        host.faults.fail(.sweep)
        try flush()
        host.change { $0.generation = 2 }
        let report = await agent.reconcile(.glance)
        #expect(report.status.conditions.map(\.code) == ["apply-failed", "drift-repaired"] && flows.count == 4)
        _ = host.touched()
        host.faults.fail()
        #expect(await agent.reconcile(.glance).status.conditions.map(\.code) == ["drift-repaired"])
        #expect(flows == right && host.touched().isEmpty)
    }

    @Test func anAgentThatEndedBeforeItsSweep() async throws {
        host.faults.fail(.sweep)
        try flush()
        host.change { $0.generation = 2 }
        _ = await agent.reconcile(.glance)
        host.faults.fail()
        let next = host.start()
        #expect(await next.start().status.conditions.isEmpty && flows.count == 4)
        #expect(await next.reconcile(.everything).status.conditions.isEmpty)
        #expect(flows == right, "and a plain start ends nothing else")
    }

    /// The port forward is on another address since, and the sweep after that failed.
    @Test func aLocalChangeWhoseSweepFailed() async throws {
        host.faults.fail(.sweep)
        try host.change { $0.facts = try FakeHost.facts(address: "10.0.0.99") }
        #expect(await agent.reconcile(.everything).status.conditions.map(\.code) == ["apply-failed"])
        #expect(flows.count == 4)
        host.faults.fail()
        #expect(await agent.reconcile(.glance).status.conditions.isEmpty)
        #expect(flows == [right[0], right[2]], "who came by the old address stops")
    }

    @Test func aChangeEndsFlowsOnceItIsConfirmedAndNotBefore() async throws {
        var before: [TrackedFlow] = []
        let report = await agent.apply(try FakeHost.desired(to: "10.0.1.81:80")) { before = flows }
        #expect(report.outcome?.result == .applied && report.status.conditions.isEmpty)
        #expect(before == [astray] + right && flows == [right[0], right[2]])
    }

    @Test func aChangeWhoseSweepFailsIsMadeUpFor() async throws {
        let report = await agent.apply(try FakeHost.desired(to: "10.0.1.81:80")) { host.faults.fail(.sweep) }
        #expect(report.status.runningHash == (try FakeHost.desired(to: "10.0.1.81:80").hash))
        #expect(report.status.conditions.map(\.code) == ["apply-failed"] && flows == [astray] + right)
        host.faults.fail()
        #expect(host.files.contents.withLock { $0[.previous] != nil })
        #expect(await agent.reconcile(.glance).status.conditions.isEmpty)
        #expect(flows == [right[0], right[2]])
        #expect(host.files.contents.withLock { $0[.trial] == nil && $0[.previous] == nil })
    }

    /// What ran before is on disk until the flows of then have ended.
    @Test(arguments: [false, true]) func anAgentThatEndedBetweenSavingAndItsSweep(isRebooted: Bool) async throws {
        let other = try FakeHost.desired(to: "10.0.1.81:80")
        _ = await agent.apply(other) { host.faults.fail(.sweep) }
        #expect(host.files.contents.withLock { $0[.trial] != nil && $0[.previous] != nil })
        if !isRebooted {
            // The next one has no more luck, and ends as well.
            #expect(await host.start().start().status.conditions.map(\.code) == ["apply-failed"])
            #expect(flows == [astray] + right && host.files.contents.withLock { $0[.previous] != nil })
        }
        host.faults.fail()
        if isRebooted { host.change { $0.bootID = "another" } }
        let report = await host.start().start()
        #expect(report.status.runningHash == other.hash && report.status.conditions.isEmpty)
        #expect(flows == (isRebooted ? [astray] + right : [right[0], right[2]]))
        #expect(host.files.contents.withLock { $0[.trial] == nil && $0[.previous] == nil })
    }

    /// The kernel walks its whole table for that, and nobody can be left out by a port forward.
    @Test func clientsAreLookedForOnlyWhereSomebodyMayBeLeftOut() async throws {
        func looks(_ desired: DesiredState) async -> Int {
            host.flows.looks.withLock { $0 = 0 }
            var count = 0
            let report = await agent.apply(desired) { count = host.flows.looks.withLock { $0 } }
            #expect(report.outcome?.result == .applied, "\(report)")
            return count
        }
        func desired(_ sources: String...) throws -> DesiredState {
            var policy = try FakeHost.desired().policy
            policy.masquerade[0].entry.sources = .networks(try sources.map { try CIDR($0) })
            return DesiredState(hash: policy.hash, policy: policy)
        }
        var found: [Int] = []
        for desired in [
            try FakeHost.desired(to: "10.0.1.81:80"),
            // The probe's client may be a better one.
            try desired("10.0.0.0/16", "2001:db8::/48"),
            try desired("10.0.0.0/8", "2001:db8::/48"),
            // Some are left out; a whole family; and one that others may translate yet.
            try desired("10.0.0.0/16", "2001:db8::/48"), try desired("10.0.0.0/16"),
            try desired("10.0.0.0/16", "2001:db8::/48"),
        ] { found.append(await looks(desired)) }
        #expect(found == [0, 1, 1, 1, 1, 1])
    }

    @Test func aChangeThatWasTakenBackWithoutASweep() async throws {
        let other = try FakeHost.desired(to: "10.0.1.81:80")
        let moved = try TrackedFlow("tcp 198.51.100.99:4004 10.0.0.11:8001 10.0.1.81:80 198.51.100.99:4004")
        let report = await agent.apply(other, confirmed: false) {
            host.flows.flows.withLock { [right] in $0 = right + [moved] }
            host.faults.fail(.sweep)
        }
        #expect(report.outcome?.result == .reverted && flows == right + [moved])
        host.faults.fail()
        _ = await agent.reconcile(.everything)
        #expect(flows == right)
    }
}
