// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: natfleet contributors

import FleetAPI
import FleetModel
import NATPolicy
import Synchronization
import TestSupport
import Testing

@testable import AgentCore

/// An agent that ends between two writes of the end of a trial, and what the next one makes of it.
struct TrialCrashTests {
    private let host: FakeHost
    private let agent: Reconciler

    init() async throws {
        host = try FakeHost()
        agent = host.start()
        _ = await agent.apply(try FakeHost.desired())
    }

    /// Runs a trial up to `.confirming`, then one step more; what the disk held after each write of that.
    private func disks(_ desired: DesiredState, after event: TrialEvent) async throws -> [[StateFile: [UInt8]]] {
        var machine = TrialMachine()
        var actions = machine.handle(.offered(desired), now: 0)
        while machine.state != .confirming, case .perform(let step) = actions.first {
            actions = machine.handle(await agent.perform(step).0, now: 0)
        }
        host.files.history.withLock { $0 = [] }
        guard case .perform(let step) = machine.handle(event, now: 1000).first else { return [] }
        _ = await agent.perform(step)
        return host.files.history.withLock { $0 }
    }

    /// A refusal of before must not outlast what is confirmed.
    @Test func whatWasConfirmedIsNotTakenBackOnceItIsSaved() async throws {
        _ = await agent.apply(try FakeHost.desired(to: "10.0.1.79:80"), confirmed: false)
        let before = host.state
        let desired = try FakeHost.desired(to: "10.0.1.81:80")
        let disks = try await disks(desired, after: .confirmed)
        let after = host.state
        #expect(disks.count >= 5 && disks.last?[.trial] == nil && disks.last?[.refusal] == nil)
        #expect(disks.contains { $0[.trial] != nil && $0[.applied] == disks.last?[.applied] })
        for (number, disk) in disks.enumerated() {
            let next = try next(disk)
            let isSaved = disk[.applied] == disks.last?[.applied]
            let report = await next.agent.start()
            #expect(report.outcome?.result == (isSaved ? nil : .reverted), "write \(number)")
            #expect(next.host.state == (isSaved ? after : before), "write \(number)")
            #expect(try next.host.files.read(.trial) == nil, "write \(number)")
            #expect(try (next.host.files.read(.refusal) == nil) == isSaved, "write \(number)")
            let later = await next.agent.reconcile()
            #expect(later.outcome == nil && later.status.drift == nil, "write \(number)")
            #expect(later.status.phase == (isSaved ? .applied : .reverted), "write \(number)")
        }
    }

    @Test func whatWasTakenBackIsNotTriedAgain() async throws {
        let before = host.state
        let desired = try FakeHost.desired(to: "10.0.1.81:80")
        let disks = try await disks(desired, after: .ticked)
        #expect(host.state == before && disks.count >= 2 && disks.last?[.trial] == nil)
        for (number, disk) in disks.enumerated() {
            let next = try next(disk)
            #expect(await next.agent.start().outcome?.result == .reverted, "write \(number)")
            _ = next.host.touched()
            #expect(await next.agent.apply(desired).outcome?.result == .reverted, "write \(number)")
            #expect(next.host.touched().isEmpty && next.host.state == before, "write \(number)")
            #expect(try next.host.files.read(.trial) == nil, "write \(number)")
        }
    }

    /// The rename is done, and the sync of the folder fails: the way back is there and nothing was touched.
    @Test func aJournalThatMayBeOnDiskIsRemoved() async throws {
        let before = host.state
        host.faults.fail(.syncFolder)
        #expect(await agent.apply(try FakeHost.desired(to: "10.0.1.81:80")).outcome?.result == .failed)
        #expect(host.state == before)
        host.faults.fail()
        _ = await agent.reconcile(.everything)
        #expect(try host.files.read(.trial) == nil)
    }

    /// What was found goes back where there was no policy before.
    @Test func theFirstTrialGivesTheSizeOfConnectionTrackingBack() async throws {
        let host = try FakeHost()
        host.change { machine in
            for key in [ConntrackSize.maxKey, ConntrackSize.bucketsKey] { machine.sysctls[key] = "7680" }
        }
        let before = host.state
        let agent = host.start(memoryKiB: 1 << 20)
        #expect(await agent.apply(try FakeHost.desired(), confirmed: false).outcome?.result == .reverted)
        #expect(host.state == before)
        #expect(try host.files.read(.conntrack) == nil)
        _ = await agent.apply(try FakeHost.desired(to: "10.0.1.81:80"))
        #expect(host.sysctl(ConntrackSize.maxKey) == "262144")
    }

    /// A newer agent may refuse what an older one ran.
    @Test func aPolicyOfBeforeThatDoesNotCompileStandsInNoWay() async throws {
        let eth7 = try FakeHost.desired(interface: .named("eth7"))
        try host.files.save(AppliedState(desired: eth7, facts: try FakeHost.facts()), .applied)
        let next = host.start()
        let report = await next.apply(try FakeHost.desired(to: "10.0.1.81:80"))
        #expect(report.outcome?.result == .applied, "\(report.outcome?.detail ?? "")")
    }

    /// The same machine with what a power cut left on its disk.
    private func next(_ disk: [StateFile: [UInt8]]) throws -> (host: FakeHost, agent: Reconciler) {
        let fresh = try FakeHost()
        let machine = host.kernel.machine.withLock { $0 }
        fresh.change { $0 = machine }
        fresh.files.contents.withLock { $0 = disk }
        return (fresh, fresh.start())
    }
}
