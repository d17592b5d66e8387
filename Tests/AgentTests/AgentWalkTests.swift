// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: natfleet contributors

import FleetAPI
import FleetModel
import Testing

@testable import AgentCore

/// The agent's state machine under everything that can happen to it, in any order.
struct AgentWalkTests {
    @Test(arguments: [(true, false), (true, true), (false, false)])
    func noWalkBreaksAnInvariant(isEnrolled: Bool, hasKept: Bool) {
        let seed: UInt64 = isEnrolled ? 7 : 11
        var walk = AgentWalk(seed: seed, isEnrolled: isEnrolled, hasKept: hasKept)
        for number in 1...100_000 {
            walk.step()
            if !walk.faults.isEmpty {
                Issue.record("seed \(seed), step \(number): \(walk.faults) in \(walk.machine)")
                return
            }
        }
        let met: Set = [
            "idle trying", "renewing idle", "renewing reconciling", "polling idle", "polling reconciling",
            "waiting idle",
            "waiting reconciling", "waiting trying", "polling trying",
        ]
        #expect(walk.seen.isSuperset(of: met), "not met: \(met.subtracting(walk.seen))")
        #expect(isEnrolled || walk.seen.contains("enrolling trying"))
    }

    private static let trouble = LinkTrouble(FleetError(.unreachable, "down", remedy: nil))

    private static func links(_ number: Int) -> [AgentMachine.Link] {
        [.idle, .enrolling, .renewing, .polling(number), .waiting(number)]
    }

    private static let works: [AgentMachine.Work] = [.idle, .trying, .reconciling]

    private static func events(_ number: Int) -> [AgentEvent] {
        [
            .ticked(renewalIsDue: false), .ticked(renewalIsDue: true), .linkFailed(number: number, trouble),
            .waited(number: number), .answered(number: number, CheckinResponse()),
            .answered(number: number, CheckinResponse(desired: AgentWalk.desired("h2"))),
            .reconciled(WorkReport(status: AgentWalk.status(.applied, "h1"))), .moved(.glance),
            .stepped(.succeeded, WorkReport(status: AgentWalk.status(.applying, "h1"))),
        ]
    }

    /// Every event in every state: never a second thing of a kind, never a check-in while applying.
    @Test func everyEventInEveryState() {
        for link in Self.links(5) {
            for work in Self.works {
                for event in Self.events(5) + Self.events(4) {
                    var machine = AgentMachine(isEnrolled: link != .enrolling, status: AgentWalk.status(.applied, "h0"))
                    (machine.link, machine.work, machine.sequence) = (link, work, 5)
                    if work == .trying { _ = machine.trial.handle(.offered(AgentWalk.desired("h1")), now: 0) }
                    if case .reconciled = event, work != .reconciling { continue }
                    if case .stepped = event, work != .trying { continue }
                    let actions = machine.handle(event, now: 500, unit: 0.5)
                    let place = "\(event) in \(link), \(work): \(actions)"
                    let begun = actions.count { action in
                        switch action {
                        case .perform, .reconcile: true
                        default: false
                        }
                    }
                    let isStillBusy =
                        switch event {
                        case .reconciled, .stepped: false
                        default: work != .idle
                        }
                    #expect(begun + (isStillBusy ? 1 : 0) <= 1, "\(place)")
                    let polls = actions.count { if case .checkIn = $0 { true } else { false } }
                    #expect(polls <= 1, "\(place)")
                    if machine.trial.state == .staging { #expect(polls == 0, "\(place)") }
                    if case .polling(let number) = machine.link, link != machine.link {
                        #expect(number > 5, "\(place)")
                    }
                }
            }
        }
    }
}
