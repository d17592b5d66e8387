// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: natfleet contributors

import FleetAPI
import FleetModel
import NATPolicy
import TestSupport

@testable import AgentCore

#if canImport(FoundationEssentials)
    import FoundationEssentials
#else
    import Foundation
#endif

/// An agent's shell that performs each action at random, late or never, and holds the machine to its invariants.
struct AgentWalk {
    /// What the shell has under way, by what will end it.
    enum Pending: Hashable {
        case enrolment
        case renewal
        case checkIn(Int, CheckinRequest)
        case timer(Int)
        case look
        case step(TrialStep)

        enum Kind { case link, look, step }

        var kind: Kind {
            switch self {
            case .look: .look
            case .step: .step
            default: .link
            }
        }
    }

    private(set) var machine: AgentMachine
    private(set) var pending: [Pending] = []
    /// Check-ins that were cancelled and timers that fired: their numbers may come back.
    private var old: [Int] = []
    private var generator: SeededGenerator
    private var ran: String?
    private var tried: DesiredState?
    private var failed: DesiredState?
    private var now = 0.0
    private var outcomes = 0
    private var unheard: Outcome?
    private(set) var faults: [String] = []
    private(set) var seen: Set<String> = []

    /// - Parameter hasKept: a policy that an agent before this one ran.
    init(seed: UInt64, isEnrolled: Bool, hasKept: Bool) {
        generator = SeededGenerator(seed: seed)
        ran = hasKept ? "h0" : nil
        let status = hasKept ? Self.status(.applying, ran) : Self.status(.idle, nil)
        machine = AgentMachine(isEnrolled: isEnrolled, status: status)
        take(machine.handle(.started, now: 0, unit: 0))
        check()
    }

    mutating func step() {
        let roll = Int.random(in: 0..<10, using: &generator)
        now += Double.random(in: 0..<20, using: &generator)
        if roll == 0 {
            send(.ticked(renewalIsDue: Int.random(in: 0..<8, using: &generator) == 0))
        } else if roll == 1, let number = old.randomElement(using: &generator) {
            let before = machine
            let late: [AgentEvent] = [
                .waited(number: number),
                .linkFailed(number: number, LinkTrouble(FleetError(.timeout, "late", remedy: nil))),
                .answered(number: number, CheckinResponse(desired: Self.desired("late"))),
            ]
            for event in late where !machine.handle(event, now: now, unit: 0).isEmpty {
                fault("acted on a late \(event)")
            }
            let isSame = machine.link == before.link && machine.work == before.work && machine.next == before.next
            if !isSame || machine.outcome != before.outcome { fault("a late event changed the machine") }
        } else if let index = pending.indices.randomElement(using: &generator) {
            end(pending.remove(at: index))
        }
        check()
    }

    private mutating func end(_ what: Pending) {
        let fails = Int.random(in: 0..<4, using: &generator) == 0
        let trouble = LinkTrouble(
            FleetError(.unreachable, "down \(Int.random(in: 0..<2, using: &generator))", remedy: nil))
        switch what {
        case .enrolment: send(fails ? .linkFailed(number: nil, trouble) : .enrolled)
        case .renewal: send(fails ? .linkFailed(number: nil, trouble) : .renewed)
        case .timer(let number):
            old.append(number)
            send(.waited(number: number))
        case .checkIn(let number, let request):
            old.append(number)
            if fails { return send(.linkFailed(number: number, trouble)) }
            if request.outcome == unheard {
                unheard = nil
                if request.outcome?.result == .applied { ran = request.outcome?.hash }
            }
            let hash = "h\(Int.random(in: 0..<3, using: &generator))"
            let isNews = hash != request.answeredHash && Bool.random(using: &generator)
            let pause = Int.random(in: 0..<6, using: &generator) == 0 ? 3 : 0
            send(
                .answered(number: number, CheckinResponse(desired: isNews ? Self.desired(hash) : nil, nextAfter: pause))
            )
        case .look:
            var report = WorkReport(status: machine.status)
            if Bool.random(using: &generator) { report.retry = failed }
            if fails {
                report.status.conditions = report.status.conditions.isEmpty ? [Condition(.notPersisted, "gone")] : []
            }
            report.look.isBlind = Bool.random(using: &generator)
            send(.reconciled(report))
        case .step(let step): end(step, fails)
        }
    }

    private mutating func end(_ step: TrialStep, _ fails: Bool) {
        let failure = TrialFailure([.refused, .failed, .reverted].randomElement(using: &generator) ?? .failed, "no")
        var report = WorkReport(status: Self.status(.applying, ran))
        switch step {
        case .recover:
            if fails { return send(.stepped(.stuck(failure), report)) }
            report.status = Self.status(.idle, ran)
        case .stage(let desired):
            tried = desired
            if fails { report = conclude(failure) }
        case .test, .arm: if fails { report = conclude(failure) }
        case .apply: break
        case .prove: if !fails { report.outcome = tell(.applied) }
        case .persist:
            failed = nil
            report.status = Self.status(.applied, ran)
        case .revert(let failure):
            if unheard?.result == .applied { unheard = nil }
            if fails { return send(.stepped(.stuck(failure), report)) }
            return send(.stepped(.succeeded, conclude(failure)))
        }
        send(.stepped(fails ? .failed(failure) : .succeeded, report))
    }

    private mutating func conclude(_ failure: TrialFailure) -> WorkReport {
        failed = tried
        return WorkReport(status: Self.status(.failed, ran), outcome: tell(failure.result))
    }

    private mutating func tell(_ result: Outcome.Result) -> Outcome {
        outcomes += 1
        let outcome = Outcome(
            hash: tried?.hash ?? "", result: result, detail: "\(outcomes)", at: Date(timeIntervalSince1970: 0))
        unheard = outcome
        return outcome
    }

    private mutating func send(_ event: AgentEvent) {
        take(machine.handle(event, now: now, unit: Double.random(in: 0..<1, using: &generator)))
    }

    private mutating func take(_ actions: [AgentAction]) {
        for action in actions {
            switch action {
            case .enrol: pending.append(.enrolment)
            case .renew: pending.append(.renewal)
            case .checkIn(let number, let request):
                switch machine.trial.state {
                case .idle, .recovering, .confirming, .reverting, .stuck: break
                default: fault("polls while \(machine.trial.state)")
                }
                if case .perform(.revert) = actions.first(where: { if case .perform = $0 { true } else { false } }) {
                    if unheard?.result == .applied { unheard = nil }
                }
                if unheard != request.outcome { fault("the outcome is not in the check-in") }
                if request.outcome != nil, request.wait != 0 { fault("an outcome would be held") }
                pending.append(.checkIn(number, request))
            case .cancelCheckIn(let number):
                old.append(number)
                pending.removeAll { if case .checkIn(number, _) = $0 { true } else { false } }
            case .wait(let number, let seconds):
                if seconds < 0 || seconds > 3600 { fault("waits \(seconds) s") }
                pending.append(.timer(number))
            case .perform(let step):
                if case .revert = step, unheard?.result == .applied { unheard = nil }
                pending.append(.step(step))
            case .reconcile: pending.append(.look)
            case .warn, .note: break
            }
        }
        if old.count > 50 { old.removeFirst(25) }
    }

    private mutating func check() {
        // A timer whose wait was given up.
        for case .timer(let number) in pending where machine.link != .waiting(number) {
            old.append(number)
            pending.removeAll { $0 == .timer(number) }
        }
        let works = pending.count { [.look, .step].contains($0.kind) }
        let links = pending.count - works
        if works > 1 { fault("\(works) works at once") }
        if links > 1 { fault("\(links) of the link at once: \(pending)") }
        // A trial that waits, for its confirmation or for another try to take it back, has nothing under way.
        let waits =
            switch machine.trial.state {
            case .confirming, .stuck: true
            default: false
            }
        if (works == 1) != (machine.work != .idle && !waits) {
            fault("work is \(machine.work) with \(works) under way")
        }
        let isBusy = machine.work == .trying && works == 1
        if links == 0, !isBusy, !machine.awaitsFirstLook { fault("stuck: nothing will wake the link") }
        if machine.outcome != unheard { fault("an outcome was lost") }
        if machine.next != nil, works == 0, !waits { fault("a desired state waits for nothing") }
        seen.insert("\(Self.kind(machine.link)) \(Self.kind(machine.work))")
    }

    private mutating func fault(_ text: String) { faults.append(text) }

    /// The name of a state without its number or hash.
    private static func kind(_ state: some Any) -> String { String("\(state)".prefix { $0 != "(" }) }

    static func desired(_ hash: String) -> DesiredState { DesiredState(hash: hash, policy: .none) }

    static func status(_ phase: InstanceStatus.Phase, _ hash: String?) -> InstanceStatus {
        InstanceStatus(phase: phase, runningHash: hash, agentVersion: "test")
    }
}
