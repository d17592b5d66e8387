// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: natfleet contributors

import FleetAPI
import FleetModel
import NATPolicy
import Testing

@testable import AgentCore

/// Every event in every state of a trial, in time and late.
struct TrialMachineTests {
    private static let desired = DesiredState(hash: "h1", policy: .none)
    private static let other = DesiredState(hash: "h2", policy: .none)
    private static let refusal = TrialFailure(.refused, "no")
    private static let old = TrialFailure(.reverted, "old")

    private static let states: [TrialMachine.State] = [
        .idle, .recovering, .staging, .testing, .arming, .applying, .proving, .confirming, .persisting,
        .reverting(old), .stuck(old),
    ]
    private static let events: [TrialEvent] = [
        .started, .offered(other), .succeeded, .failed(refusal), .stuck(refusal), .confirmed, .ticked,
    ]

    /// What changes; everything else leaves the state as it is and does nothing. `late` differs where it matters.
    private static let table: [String: (state: TrialMachine.State, actions: [TrialAction])] = [
        "idle started": (.recovering, [.perform(.recover)]),
        "idle offered": (.staging, [.perform(.stage(other))]),
        "recovering succeeded": (.idle, [.finish(nil)]),
        "recovering failed": (.idle, [.finish(refusal)]),
        "recovering stuck": (.stuck(refusal), []),
        "staging succeeded": (.testing, [.perform(.test)]),
        "staging failed": (.idle, [.finish(refusal)]),
        "testing succeeded": (.arming, [.perform(.arm(seconds: 120))]),
        "testing failed": (.idle, [.finish(refusal)]),
        "arming succeeded": (.applying, [.perform(.apply)]),
        "arming failed": (.idle, [.finish(refusal)]),
        "applying succeeded": (.proving, [.perform(.prove)]),
        "applying succeeded late": (.reverting(.late), [.perform(.revert(.late))]),
        "applying failed": (.reverting(refusal), [.perform(.revert(refusal))]),
        "proving succeeded": (.confirming, [.confirm]),
        "proving succeeded late": (.reverting(.late), [.perform(.revert(.late))]),
        "proving failed": (.reverting(refusal), [.perform(.revert(refusal))]),
        "confirming confirmed": (.persisting, [.perform(.persist)]),
        "confirming failed": (.reverting(refusal), [.perform(.revert(refusal))]),
        "confirming ticked late": (.reverting(.unconfirmed), [.perform(.revert(.unconfirmed))]),
        "persisting succeeded": (.idle, [.finish(nil)]),
        "persisting failed": (.idle, [.finish(nil)]),
        "reverting succeeded": (.idle, [.finish(old)]),
        "reverting failed": (.stuck(old), []),
        "reverting stuck": (.stuck(old), []),
        "stuck ticked": (.reverting(old), [.perform(.revert(old))]),
    ]

    private static func name(_ value: some Any) -> String { String("\(value)".prefix { $0 != "(" }) }

    @Test(arguments: [false, true])
    func everyEventInEveryState(isLate: Bool) {
        var met: Set<String> = []
        for state in Self.states {
            for event in Self.events {
                let key = "\(Self.name(state)) \(Self.name(event))"
                let late = isLate && Self.table[key + " late"] != nil ? key + " late" : key
                met.insert(late)
                var machine = TrialMachine(state: state, desired: state == .idle ? nil : Self.desired, deadline: 100)
                let actions = machine.handle(event, now: isLate ? 100 : 99.9)
                let expected = Self.table[late] ?? (state, [])
                #expect(
                    machine.state == expected.state && actions == expected.actions,
                    "\(late): \(machine.state) \(actions)")
                // Whatever touched the kernel ends confirmed or by taking it back.
                if state == .applying || state == .proving || state == .confirming { #expect(machine.state != .idle) }
                if machine.state == .idle {
                    #expect(machine.deadline == nil && machine.desired == nil || state == .idle)
                }
            }
        }
        let unmet = Self.table.keys.filter { !met.contains($0) && (isLate || !$0.hasSuffix("late")) }
        #expect(unmet.filter { isLate ? $0.hasSuffix("late") : true }.isEmpty)
    }

    @Test(arguments: [(nil, 120.0), (30, 30.0)])
    func theDeadlineCountsFromTheEndOfTheTest(_ seconds: Int?, _ span: Double) {
        var wanted = Self.desired
        wanted.policy.confirmTimeout = seconds
        var machine = TrialMachine()
        _ = machine.handle(.offered(wanted), now: 5)
        _ = machine.handle(.succeeded, now: 7)
        #expect(machine.handle(.succeeded, now: 10) == [.perform(.arm(seconds: Int(span)))])
        #expect(machine.deadline == 10 + span)
    }

    @Test func nothingToRecoverIsNoTrial() {
        var machine = TrialMachine()
        _ = machine.handle(.started, now: 0)
        #expect(machine.handle(.succeeded, now: 0).isEmpty && machine.state == .idle)
    }

    @Test func takingBackIsTriedAgainAfterAPauseThatGrows() {
        var machine = TrialMachine(state: .reverting(Self.old), desired: Self.desired, deadline: 0)
        var tries: [Double] = []
        for second in 0...52 {
            let now = Double(second)
            if case .reverting = machine.state { _ = machine.handle(.stuck(Self.refusal), now: now) }
            if !machine.handle(.ticked, now: now).isEmpty { tries.append(now) }
        }
        #expect(tries == [0, 2, 5, 10, 19, 30, 41, 52])
        _ = machine.handle(.succeeded, now: 60)
        #expect(machine == TrialMachine(), "the next one begins anew")
    }
}
