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

    private func polling() -> (AgentMachine, Int) {
        var machine = AgentMachine(isEnrolled: true, status: idle)
        let actions = machine.handle(.started, unit: 0.5)
        return (machine, checkIns(actions).first?.number ?? -1)
    }

    private func checkIns(_ actions: [AgentAction]) -> [(number: Int, request: CheckinRequest)] {
        actions.compactMap { if case .checkIn(let number, let request) = $0 { (number, request) } else { nil } }
    }

    private func report(_ phase: InstanceStatus.Phase, _ hash: String?, outcome: Outcome? = nil) -> AgentEvent {
        .worked(
            WorkReport(status: InstanceStatus(phase: phase, runningHash: hash, agentVersion: "test"), outcome: outcome))
    }

    private func outcome(_ result: Outcome.Result) -> Outcome {
        Outcome(hash: "h1", result: result, detail: "", at: Date(timeIntervalSince1970: 0))
    }

    @Test func reAppliesBeforeAndBesideTheFirstCheckIn() {
        var machine = AgentMachine(isEnrolled: true, status: idle)
        let actions = machine.handle(.started, unit: 0.5)
        #expect(actions.first == .reconcile)
        #expect(checkIns(actions).first?.request.wait == 50)
        #expect(checkIns(actions).first?.request.answeredHash == nil)
    }

    @Test func enrolsFirstWithoutIdentity() {
        var machine = AgentMachine(isEnrolled: false, status: idle)
        #expect(machine.handle(.started, unit: 0.5) == [.reconcile, .enrol])
        #expect(checkIns(machine.handle(.enrolled, unit: 0.5)).count == 1)
    }

    @Test func anOutcomeEndsTheHeldPollAndIsNeverHeld() throws {
        var (machine, number) = polling()
        _ = machine.handle(report(.idle, nil), unit: 0.5)
        let applying = machine.handle(.answered(number: number, CheckinResponse(desired: desired)), unit: 0.5)
        #expect(applying == [.apply(desired)])

        let done = machine.handle(report(.applied, "h1", outcome: outcome(.applied)), unit: 0.5)
        let sent = try #require(checkIns(done).first)
        #expect(sent.request.wait == 0)
        #expect(sent.request.outcome?.result == .applied)
        #expect(sent.request.answeredHash == "h1")

        let after = machine.handle(.answered(number: sent.number, CheckinResponse()), unit: 0.5)
        let next = try #require(checkIns(after).first)
        #expect(next.request.outcome == nil)
        #expect(next.request.wait == 50)
    }

    @Test func aChangeOfHealthEndsTheHeldPoll() throws {
        var (machine, number) = polling()
        _ = machine.handle(report(.idle, nil), unit: 0.5)
        #expect(machine.handle(.ticked(renewalIsDue: false), unit: 0.5) == [.reconcile])
        var sick = idle
        sick.conditions = [Condition(.notPersisted, "chain is gone")]
        let actions = machine.handle(.worked(WorkReport(status: sick)), unit: 0.5)
        #expect(actions.first == .cancelCheckIn(number: number))
        #expect(try #require(checkIns(actions).first).request.status.conditions.count == 1)
        // The cancelled poll's late failure is no failure.
        let late = machine.handle(.linkFailed(number: number, trouble("cancelled")), unit: 0.5)
        #expect(late.isEmpty)
    }

    @Test func anOutcomeThatWasNotDeliveredIsSentAgain() throws {
        var (machine, number) = polling()
        _ = machine.handle(report(.idle, nil), unit: 0.5)
        _ = machine.handle(.answered(number: number, CheckinResponse(desired: desired)), unit: 0.5)
        let done = machine.handle(report(.refused, nil, outcome: outcome(.refused)), unit: 0.5)
        let first = try #require(checkIns(done).first)
        let failed = machine.handle(.linkFailed(number: first.number, trouble("down")), unit: 0.5)
        guard case .wait(let timer, _) = try #require(failed.last) else {
            Issue.record("no wait after a failure: \(failed)")
            return
        }
        let again = machine.handle(.waited(number: timer), unit: 0.5)
        #expect(checkIns(again).first?.request.outcome?.result == .refused)
    }

    @Test func warnsOncePerReasonAndBacksOff() {
        var (machine, number) = polling()
        var warnings = 0
        var waits: [Double] = []
        for _ in 0..<8 {
            var timer = 0
            for action in machine.handle(.linkFailed(number: number, trouble("down")), unit: 0.999) {
                if case .warn = action { warnings += 1 }
                if case .wait(let number, let seconds) = action { (timer, waits) = (number, waits + [seconds]) }
            }
            number = checkIns(machine.handle(.waited(number: timer), unit: 0.5)).first?.number ?? -1
        }
        #expect(warnings == 1)
        #expect(waits.map { ($0 + 0.5).rounded(.down) } == [2, 4, 8, 16, 32, 60, 60, 60])
        let answered = machine.handle(.answered(number: number, CheckinResponse()), unit: 0.5)
        #expect(answered.contains(.note("the controller answers again")))
    }

    @Test func appliesTheNewestDesiredStateAfterTheOneUnderWay() {
        var (machine, number) = polling()
        // The reconciliation of the start is still under way.
        let waiting = machine.handle(.answered(number: number, CheckinResponse(desired: desired)), unit: 0.5)
        #expect(checkIns(waiting).count == 1)
        #expect(machine.handle(report(.idle, nil), unit: 0.5).contains(.apply(desired)))
    }

    @Test func runsNothingTwice() {
        var (machine, _) = polling()
        _ = machine.handle(report(.applied, "h1"), unit: 0.5)
        let number = machine.sequence
        let actions = machine.handle(.answered(number: number, CheckinResponse(desired: desired)), unit: 0.5)
        #expect(checkIns(actions).count == 1)
        #expect(!actions.contains(.apply(desired)))
    }

    @Test func renewsBetweenTwoCheckIns() {
        var (machine, number) = polling()
        _ = machine.handle(.ticked(renewalIsDue: true), unit: 0.5)
        #expect(machine.handle(.answered(number: number, CheckinResponse()), unit: 0.5) == [.renew])
        #expect(checkIns(machine.handle(.renewed, unit: 0.5)).count == 1)
    }

    @Test func enrolsAgainWhenTheIdentityIsRefusedAndANewTokenIsThere() throws {
        var (machine, number) = polling()
        var refused = trouble("certificate has expired")
        refused.needsEnrolment = true
        let failed = machine.handle(.linkFailed(number: number, refused), unit: 0.5)
        guard case .wait(let timer, _) = try #require(failed.last) else {
            Issue.record("no wait after a failure: \(failed)")
            return
        }
        #expect(machine.handle(.waited(number: timer), unit: 0.5) == [.enrol])
    }

    private func trouble(_ text: String) -> LinkTrouble { LinkTrouble(FleetError(.unreachable, text)) }
}
