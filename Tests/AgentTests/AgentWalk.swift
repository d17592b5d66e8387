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
        case work(DesiredState?)
    }

    private(set) var machine: AgentMachine
    private(set) var pending: [Pending] = []
    /// Check-ins that were cancelled and timers that fired: their numbers may come back.
    private var old: [Int] = []
    private var generator: SeededGenerator
    private var ran: String?
    private var failed: DesiredState?
    private var outcomes = 0
    private var unheard: Outcome?
    private(set) var faults: [String] = []
    private(set) var seen: Set<String> = []

    init(seed: UInt64, isEnrolled: Bool) {
        generator = SeededGenerator(seed: seed)
        machine = AgentMachine(isEnrolled: isEnrolled, status: Self.status(.idle, nil))
        take(machine.handle(.started, unit: 0))
        check()
    }

    mutating func step() {
        let roll = Int.random(in: 0..<10, using: &generator)
        if roll == 0 {
            send(.ticked(renewalIsDue: Int.random(in: 0..<8, using: &generator) == 0))
        } else if roll == 1, let number = old.randomElement(using: &generator) {
            let before = machine
            let late: [AgentEvent] = [
                .waited(number: number), .linkFailed(number: number, LinkTrouble(FleetError(.timeout, "late"))),
                .answered(number: number, CheckinResponse(desired: Self.desired("late"))),
            ]
            for event in late where !machine.handle(event, unit: 0).isEmpty { fault("acted on a late \(event)") }
            let isSame = machine.link == before.link && machine.work == before.work && machine.next == before.next
            if !isSame || machine.outcome != before.outcome { fault("a late event changed the machine") }
        } else if let index = pending.indices.randomElement(using: &generator) {
            end(pending.remove(at: index))
        }
        check()
    }

    private mutating func end(_ what: Pending) {
        let fails = Int.random(in: 0..<4, using: &generator) == 0
        let trouble = LinkTrouble(FleetError(.unreachable, "down \(Int.random(in: 0..<2, using: &generator))"))
        switch what {
        case .enrolment: send(fails ? .linkFailed(number: nil, trouble) : .enrolled)
        case .renewal: send(fails ? .linkFailed(number: nil, trouble) : .renewed)
        case .timer(let number):
            old.append(number)
            send(.waited(number: number))
        case .checkIn(let number, let request):
            old.append(number)
            if fails { return send(.linkFailed(number: number, trouble)) }
            if request.outcome == unheard { unheard = nil }
            let hash = "h\(Int.random(in: 0..<3, using: &generator))"
            let isNews = hash != request.answeredHash && Bool.random(using: &generator)
            let pause = Int.random(in: 0..<6, using: &generator) == 0 ? 3 : 0
            send(
                .answered(number: number, CheckinResponse(desired: isNews ? Self.desired(hash) : nil, nextAfter: pause))
            )
        case .work(let desired): finish(desired, fails)
        }
    }

    /// - Parameter desired: nil for a reconciliation, which may try again what failed before.
    private mutating func finish(_ desired: DesiredState?, _ fails: Bool) {
        guard let desired = desired ?? (Bool.random(using: &generator) ? failed : nil) else {
            var status = machine.status
            if fails { status.conditions = status.conditions.isEmpty ? [Condition(.notPersisted, "gone")] : [] }
            return send(.worked(WorkReport(status: status)))
        }
        if !fails { ran = desired.hash }
        failed = fails ? desired : nil
        outcomes += 1
        let outcome = Outcome(
            hash: desired.hash, result: fails ? .failed : .applied, detail: "\(outcomes)",
            at: Date(timeIntervalSince1970: 0))
        unheard = outcome
        send(.worked(WorkReport(status: Self.status(fails ? .failed : .applied, ran), outcome: outcome)))
    }

    private mutating func send(_ event: AgentEvent) {
        take(machine.handle(event, unit: Double.random(in: 0..<1, using: &generator)))
    }

    private mutating func take(_ actions: [AgentAction]) {
        for action in actions {
            switch action {
            case .enrol: pending.append(.enrolment)
            case .renew: pending.append(.renewal)
            case .checkIn(let number, let request):
                if case .applying = machine.work { fault("polls while applying") }
                if unheard != request.outcome { fault("the outcome is not in the check-in") }
                if request.outcome != nil, request.wait != 0 { fault("an outcome would be held") }
                pending.append(.checkIn(number, request))
            case .cancelCheckIn(let number):
                old.append(number)
                pending.removeAll { if case .checkIn(number, _) = $0 { true } else { false } }
            case .wait(let number, let seconds):
                if seconds < 0 || seconds > 3600 { fault("waits \(seconds) s") }
                pending.append(.timer(number))
            case .apply(let desired): pending.append(.work(desired))
            case .reconcile: pending.append(.work(nil))
            case .warn, .note: break
            }
        }
        if old.count > 50 { old.removeFirst(25) }
    }

    private mutating func check() {
        let works = pending.count { if case .work = $0 { true } else { false } }
        let links = pending.count - works
        if works > 1 { fault("\(works) works at once") }
        if links > 1 { fault("\(links) of the link at once: \(pending)") }
        if (works == 1) != (machine.work != .idle) { fault("work is \(machine.work) with \(works) under way") }
        let isApplying = if case .applying = machine.work { true } else { false }
        if links == 0, !isApplying { fault("stuck: nothing will wake the link") }
        if machine.outcome != unheard { fault("an outcome was lost") }
        if machine.next != nil, works == 0 { fault("a desired state waits for nothing") }
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
