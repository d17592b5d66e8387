// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: natfleet contributors

import FleetAPI
import FleetModel
import NATPolicy
import TestSupport
import Testing

@testable import AgentCore

/// What was refused or reverted is tried again when an operator says so: once.
struct RetryTests {
    private let host: FakeHost
    private let agent: Reconciler

    init() throws {
        host = try FakeHost()
        agent = host.start()
    }

    private func other(_ attempt: Int? = nil) throws -> DesiredState {
        var desired = try FakeHost.desired(to: "10.0.1.81:80")
        desired.attempt = attempt
        return desired
    }

    /// As the controller hears it, and as it is on disk: times in whole seconds.
    private func told(_ report: WorkReport) throws -> Outcome {
        try WireJSON.decode(Outcome.self, from: WireJSON.encode(try #require(report.outcome)))
    }

    @Test func aRevertedChangeIsTriedOnceForEachRequest() async throws {
        _ = await agent.apply(try FakeHost.desired())
        let state = host.state
        var known = await agent.apply(try other(), confirmed: false)
        #expect(known.outcome?.result == .reverted)
        for attempt in [5, 6] {
            _ = host.touched()
            let tried = await agent.apply(try other(attempt), confirmed: false)
            #expect(!host.touched().isEmpty && host.state == state)
            #expect(tried.outcome?.result == .reverted && tried.status.phase == .reverted)
            #expect(tried.outcome != known.outcome, "the controller has to hear that it was tried")
            known = tried
            // Not by itself, not when offered again, nor by an older request, nor after a restart.
            for agent in [agent, host.start()] {
                #expect(await agent.reconcile().outcome == nil)
                for old in [nil, attempt - 1, attempt] {
                    #expect(try told(await agent.apply(try other(old))) == told(known))
                }
            }
            #expect(host.touched().isEmpty)
        }
        let done = await host.start().apply(try other(7))
        #expect(done.outcome?.result == .applied && done.status.phase == .applied)
        #expect(done.status.conditions.isEmpty && host.state != state)
        #expect(try host.files.read(.refusal) == nil)
    }

    @Test func aRefusedPolicyIsLookedAtOnceForEachRequest() async throws {
        var desired = try FakeHost.desired(interface: .named("eth7"))
        let first = await agent.apply(desired)
        #expect(first.outcome?.result == .refused)
        desired.attempt = 5
        let second = await agent.apply(desired)
        #expect(second.outcome?.result == .refused && second.outcome != first.outcome)
        #expect(await agent.apply(desired).outcome == second.outcome)
        #expect(try told(await host.start().apply(desired)) == told(second))
        #expect(host.touched().isEmpty)
    }

    /// An agent that ends in the trial has tried.
    @Test func aRetryThatACrashEndedIsNotTriedAgain() async throws {
        _ = await agent.apply(try FakeHost.desired())
        let state = host.state
        _ = await agent.apply(try other(), confirmed: false)
        var machine = TrialMachine()
        var actions = machine.handle(.offered(try other(5)), now: 0)
        while machine.state != .confirming, case .perform(let step) = actions.first {
            actions = machine.handle(await agent.perform(step).0, now: 0)
        }
        #expect(host.state != state)
        let next = host.start()
        let report = await next.start()
        #expect(report.outcome?.result == .reverted && host.state == state)
        _ = host.touched()
        #expect(await next.apply(try other(5)).outcome?.result == .reverted)
        #expect(host.touched().isEmpty)
        #expect(await next.apply(try other(6)).outcome?.result == .applied)
    }

    @Test func aNewHostIsWorthATryWhateverTheAttempt() async throws {
        _ = await agent.apply(try other(5), confirmed: false)
        try host.change { $0.facts = try FakeHost.facts(address: "10.0.0.99") }
        #expect(await agent.reconcile().outcome?.result == .applied)
    }
}

/// The machine's part: what is offered to the trial, and what the controller hears of it.
struct RetryMachineTests {
    private static func desired(_ attempt: Int?) -> DesiredState {
        DesiredState(hash: "h1", policy: .none, attempt: attempt)
    }

    private static func status(_ phase: InstanceStatus.Phase, _ hash: String?) -> InstanceStatus {
        InstanceStatus(phase: phase, runningHash: hash, agentVersion: "test")
    }

    /// Idle beside a held check-in, after `status` was reported.
    private func settled(_ status: InstanceStatus) -> AgentMachine {
        var machine = AgentMachine(isEnrolled: true, status: status)
        _ = machine.handle(.started, now: 0, unit: 0.5)
        _ = machine.handle(.stepped(.succeeded, WorkReport(status: status)), now: 0, unit: 0.5)
        _ = machine.handle(.reconciled(WorkReport(status: status)), now: 0, unit: 0.5)
        return machine
    }

    private func attempts(_ actions: [AgentAction]) -> [Int?] {
        actions.compactMap { if case .checkIn(_, let request) = $0 { request.answeredAttempt } else { nil } }
    }

    @Test func aLaterAttemptOfTheSameHashIsOfferedAtOnceAndAnswered() {
        var machine = settled(Self.status(.reverted, "h0"))
        #expect(machine.answeredAttempt == 0)
        let actions = machine.handle(
            .answered(number: machine.sequence, CheckinResponse(desired: Self.desired(5))), now: 0, unit: 0.5)
        #expect(actions == [.perform(.stage(Self.desired(5)))])
        let end = machine.handle(
            .stepped(
                .failed(TrialFailure(.refused, "no")), WorkReport(status: Self.status(.refused, "h0"))),
            now: 0, unit: 0.5)
        #expect(attempts(end) == [5])
    }

    /// A request that comes when what it asks for has come to run meanwhile.
    @Test func whatRunsIsNotTriedAgain() {
        var machine = settled(Self.status(.applied, "h1"))
        let actions = machine.handle(
            .answered(number: machine.sequence, CheckinResponse(desired: Self.desired(5))), now: 0, unit: 0.5)
        #expect(attempts(actions) == [5])
        #expect(!actions.contains { if case .perform = $0 { true } else { false } })
        #expect(machine.handle(.ticked(renewalIsDue: false), now: 1, unit: 0.5).isEmpty)
    }

    @Test func aDesiredStateWithoutAnAttemptIsOfAnOlderController() throws {
        let desired = Self.desired(nil)
        let text = String(decoding: try WireJSON.encode(desired), as: UTF8.self)
        #expect(!text.contains("attempt"))
        #expect(try WireJSON.decode(DesiredState.self, from: WireJSON.encode(desired)) == desired)
        var machine = settled(Self.status(.idle, nil))
        machine.answeredAttempt = 5
        _ = machine.handle(
            .answered(number: machine.sequence, CheckinResponse(desired: desired)), now: 0, unit: 0.5)
        #expect(machine.answeredAttempt == 0)
    }
}
