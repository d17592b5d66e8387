// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: natfleet contributors

import FleetAPI
import FleetModel
import NATPolicy
import Testing

@testable import AgentCore

#if canImport(FoundationEssentials)
    import FoundationEssentials
#else
    import Foundation
#endif

struct AgentMachineTests {
    private let idle = InstanceStatus(phase: .idle, agentVersion: "test")
    private let desired = DesiredState(hash: "h1", policy: .none)

    /// Enrolled, started, looked at everything once; the first check-in is held.
    private func polling() -> (AgentMachine, Int) {
        var machine = AgentMachine(isEnrolled: true, status: idle)
        let actions = machine.handle(.started, now: 0, unit: 0.5)
        _ = machine.handle(.stepped(.succeeded, WorkReport(status: idle)), now: 0, unit: 0.5)
        return (machine, checkIns(actions).first?.number ?? -1)
    }

    /// As `polling`, and the trial of `desired` has come to the step before its confirmation.
    private func proven() -> (AgentMachine, [AgentAction]) {
        var (machine, number) = polling()
        _ = machine.handle(report(.idle, nil), now: 0, unit: 0.5)
        _ = machine.handle(.answered(number: number, CheckinResponse(desired: desired)), now: 0, unit: 0.5)
        for _ in 0..<4 { _ = machine.handle(stepped(.succeeded), now: 0, unit: 0.5) }
        let actions = machine.handle(stepped(.succeeded, outcome(.applied)), now: 0, unit: 0.5)
        return (machine, actions)
    }

    private func stepped(_ event: TrialEvent, _ outcome: Outcome? = nil) -> AgentEvent {
        let status = InstanceStatus(phase: .applying, agentVersion: "test")
        return .stepped(event, WorkReport(status: status, outcome: outcome))
    }

    private func checkIns(_ actions: [AgentAction]) -> [(number: Int, request: CheckinRequest)] {
        actions.compactMap { if case .checkIn(let number, let request) = $0 { (number, request) } else { nil } }
    }

    private func report(_ phase: InstanceStatus.Phase, _ hash: String?, outcome: Outcome? = nil) -> AgentEvent {
        .reconciled(
            WorkReport(status: InstanceStatus(phase: phase, runningHash: hash, agentVersion: "test"), outcome: outcome))
    }

    private func outcome(_ result: Outcome.Result) -> Outcome {
        Outcome(hash: "h1", result: result, detail: "", at: Date(timeIntervalSince1970: 0))
    }

    @Test func takesBackWhatWasLeftThenLooksBesideTheFirstCheckIn() {
        var machine = AgentMachine(isEnrolled: true, status: idle)
        let actions = machine.handle(.started, now: 0, unit: 0.5)
        #expect(actions.first == .perform(.recover))
        #expect(checkIns(actions).first?.request.wait == 50)
        #expect(checkIns(actions).first?.request.answeredHash == nil)
        let next = machine.handle(.stepped(.succeeded, WorkReport(status: idle)), now: 0, unit: 0.5)
        #expect(next == [.reconcile(.everything)])
    }

    /// What it kept is not known to be in the kernel before somebody has looked.
    @Test func theFirstCheckInOfAnAgentThatKeptSomethingWaitsForTheFirstLook() throws {
        let unseen = InstanceStatus(phase: .applying, runningHash: "h1", agentVersion: "test")
        var machine = AgentMachine(isEnrolled: true, status: unseen)
        #expect(machine.handle(.started, now: 100, unit: 0.5) == [.perform(.recover)])
        let looking = machine.handle(.stepped(.succeeded, WorkReport(status: unseen)), now: 101, unit: 0.5)
        #expect(looking == [.reconcile(.everything)])
        #expect(machine.rest(101) == 1)
        var late = machine
        let told = try #require(checkIns(machine.handle(report(.applied, "h1"), now: 102, unit: 0.5)).first)
        #expect(told.request.status.phase == .applied && machine.rest(102) > 1)
        // A look that takes for ever is told of, as no success.
        #expect(late.handle(.ticked(renewalIsDue: false), now: 114, unit: 0.5).isEmpty)
        let waited = try #require(checkIns(late.handle(.ticked(renewalIsDue: false), now: 115, unit: 0.5)).first)
        #expect(waited.request.status.phase == .applying)
    }

    @Test func enrolsFirstWithoutIdentity() {
        var machine = AgentMachine(isEnrolled: false, status: idle)
        #expect(machine.handle(.started, now: 0, unit: 0.5) == [.perform(.recover), .enrol])
        #expect(checkIns(machine.handle(.enrolled, now: 0, unit: 0.5)).count == 1)
    }

    @Test func aTrialIsConfirmedByTheAnswerToItsOutcome() throws {
        var (machine, actions) = proven()
        let sent = try #require(checkIns(actions).first)
        #expect(sent.request.wait == 0 && sent.request.outcome?.result == .applied)
        #expect(sent.request.answeredHash == "h1" && machine.trial.state == .confirming)

        let confirmed = machine.handle(.answered(number: sent.number, CheckinResponse()), now: 1, unit: 0.5)
        #expect(confirmed == [.perform(.persist)])
        let status = InstanceStatus(phase: .applied, runningHash: "h1", agentVersion: "test")
        let done = machine.handle(.stepped(.succeeded, WorkReport(status: status)), now: 2, unit: 0.5)
        let next = try #require(checkIns(done).first)
        #expect(next.request.outcome == nil && next.request.wait == 50 && next.request.status.phase == .applied)
    }

    @Test func anUnansweredTrialIsTakenBackAndSaidLater() throws {
        var (machine, actions) = proven()
        let sent = try #require(checkIns(actions).first)
        let failed = machine.handle(.linkFailed(number: sent.number, trouble("down")), now: 1, unit: 0.999)
        guard case .wait(let timer, let seconds) = try #require(failed.last) else {
            Issue.record("no wait after a failure: \(failed)")
            return
        }
        #expect(seconds <= AgentMachine.confirmPause)
        let again = try #require(checkIns(machine.handle(.waited(number: timer), now: 2, unit: 0.5)).first)
        #expect(machine.handle(.ticked(renewalIsDue: false), now: 119, unit: 0.5).isEmpty)
        let late = machine.handle(.ticked(renewalIsDue: false), now: 120, unit: 0.5)
        #expect(late.prefix(2) == [.cancelCheckIn(number: again.number), .perform(.revert(.unconfirmed))])
        // The answer comes after all, to a question that is not asked any more.
        #expect(machine.handle(.answered(number: again.number, CheckinResponse()), now: 121, unit: 0.5).isEmpty)
        let told = machine.handle(stepped(.succeeded, outcome(.reverted)), now: 122, unit: 0.5)
        #expect(checkIns(told).first?.request.outcome?.result == .reverted)
    }

    @Test func newsDoNotHurryATrialThatCannotBeTakenBack() {
        var machine = AgentMachine(isEnrolled: true, status: idle)
        _ = machine.handle(.started, now: 0, unit: 0.5)
        let stuck = stepped(.stuck(TrialFailure(.reverted, "no")))
        let again = AgentAction.perform(.revert(TrialFailure(.reverted, "no")))
        _ = machine.handle(stuck, now: 0, unit: 0.5)
        #expect(machine.handle(.ticked(renewalIsDue: false), now: 0.5, unit: 0.5) == [again])
        _ = machine.handle(stuck, now: 1, unit: 0.5)
        for _ in 0..<3 {
            #expect(machine.handle(.moved(.everything), now: 1.5, unit: 0.5).isEmpty)
            #expect(machine.handle(.ticked(renewalIsDue: false), now: 1.5, unit: 0.5).isEmpty)
        }
        #expect(machine.handle(.ticked(renewalIsDue: false), now: 2, unit: 0.5) == [again])
    }

    @Test func aChangeOfHealthEndsTheHeldPoll() throws {
        var (machine, number) = polling()
        _ = machine.handle(report(.idle, nil), now: 0, unit: 0.5)
        #expect(machine.handle(.ticked(renewalIsDue: false), now: 10, unit: 0.5) == [.reconcile(.rules)])
        var sick = idle
        sick.conditions = [Condition(.notPersisted, "chain is gone")]
        let actions = machine.handle(.reconciled(WorkReport(status: sick)), now: 0, unit: 0.5)
        #expect(actions.first == .cancelCheckIn(number: number))
        #expect(try #require(checkIns(actions).first).request.status.conditions.count == 1)
        // The cancelled poll's late failure is no failure.
        let late = machine.handle(.linkFailed(number: number, trouble("cancelled")), now: 0, unit: 0.5)
        #expect(late.isEmpty)
    }

    @Test func anOutcomeThatWasNotDeliveredIsSentAgain() throws {
        var (machine, number) = polling()
        _ = machine.handle(report(.idle, nil), now: 0, unit: 0.5)
        _ = machine.handle(.answered(number: number, CheckinResponse(desired: desired)), now: 0, unit: 0.5)
        let refusal = stepped(.failed(TrialFailure(.refused, "no")), outcome(.refused))
        let done = machine.handle(refusal, now: 0, unit: 0.5)
        let first = try #require(checkIns(done).first)
        let failed = machine.handle(.linkFailed(number: first.number, trouble("down")), now: 0, unit: 0.5)
        guard case .wait(let timer, _) = try #require(failed.last) else {
            Issue.record("no wait after a failure: \(failed)")
            return
        }
        let again = machine.handle(.waited(number: timer), now: 0, unit: 0.5)
        #expect(checkIns(again).first?.request.outcome?.result == .refused)
    }

    @Test func warnsOncePerReasonAndBacksOff() {
        var (machine, number) = polling()
        var warnings = 0
        var waits: [Double] = []
        for _ in 0..<8 {
            var timer = 0
            for action in machine.handle(.linkFailed(number: number, trouble("down")), now: 0, unit: 0.999) {
                if case .warn = action { warnings += 1 }
                if case .wait(let number, let seconds) = action { (timer, waits) = (number, waits + [seconds]) }
            }
            number = checkIns(machine.handle(.waited(number: timer), now: 0, unit: 0.5)).first?.number ?? -1
        }
        #expect(warnings == 1)
        #expect(waits.map { ($0 + 0.5).rounded(.down) } == [2, 4, 8, 16, 32, 60, 60, 60])
        let answered = machine.handle(.answered(number: number, CheckinResponse()), now: 0, unit: 0.5)
        #expect(answered.contains(.note("the controller answers again")))
    }

    @Test func appliesTheNewestDesiredStateAfterTheOneUnderWay() {
        var (machine, number) = polling()
        // The reconciliation of the start is still under way.
        let waiting = machine.handle(.answered(number: number, CheckinResponse(desired: desired)), now: 0, unit: 0.5)
        #expect(checkIns(waiting).count == 1)
        #expect(machine.handle(report(.idle, nil), now: 0, unit: 0.5).contains(.perform(.stage(desired))))
    }

    @Test func runsNothingTwice() {
        var (machine, _) = polling()
        _ = machine.handle(report(.applied, "h1"), now: 0, unit: 0.5)
        let number = machine.sequence
        let actions = machine.handle(.answered(number: number, CheckinResponse(desired: desired)), now: 0, unit: 0.5)
        #expect(checkIns(actions).count == 1)
        #expect(!actions.contains(.perform(.stage(desired))))
    }

    @Test func renewsBetweenTwoCheckIns() {
        var (machine, number) = polling()
        _ = machine.handle(.ticked(renewalIsDue: true), now: 0, unit: 0.5)
        #expect(machine.handle(.answered(number: number, CheckinResponse()), now: 0, unit: 0.5) == [.renew])
        #expect(checkIns(machine.handle(.renewed, now: 0, unit: 0.5)).count == 1)
    }

    @Test func enrolsAgainWhenTheIdentityIsRefusedAndANewTokenIsThere() throws {
        var (machine, number) = polling()
        var refused = trouble("certificate has expired")
        refused.needsEnrolment = true
        let failed = machine.handle(.linkFailed(number: number, refused), now: 0, unit: 0.5)
        guard case .wait(let timer, _) = try #require(failed.last) else {
            Issue.record("no wait after a failure: \(failed)")
            return
        }
        #expect(machine.handle(.waited(number: timer), now: 0, unit: 0.5) == [.enrol])
    }

    private func trouble(_ text: String) -> LinkTrouble { LinkTrouble(FleetError(.unreachable, text, remedy: nil)) }
}
