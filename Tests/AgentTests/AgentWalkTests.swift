// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: natfleet contributors

import FleetAPI
import FleetModel
import Testing

@testable import AgentCore

/// The agent's state machine under everything that can happen to it, in any order.
struct AgentWalkTests {
    @Test(arguments: [true, false])
    func noWalkBreaksAnInvariant(isEnrolled: Bool) {
        let seed: UInt64 = isEnrolled ? 7 : 11
        var walk = AgentWalk(seed: seed, isEnrolled: isEnrolled)
        for number in 1...100_000 {
            walk.step()
            if !walk.faults.isEmpty {
                Issue.record("seed \(seed), step \(number): \(walk.faults) in \(walk.machine)")
                return
            }
        }
        let met: Set = [
            "idle applying", "renewing idle", "renewing reconciling", "polling idle", "polling reconciling",
            "waiting idle",
            "waiting reconciling", "waiting applying",
        ]
        #expect(walk.seen.isSuperset(of: met), "not met: \(met.subtracting(walk.seen))")
        #expect(isEnrolled || walk.seen.contains("enrolling reconciling"))
    }

    private static let trouble = LinkTrouble(FleetError(.unreachable, "down"))

    private static func links(_ number: Int) -> [AgentMachine.Link] {
        [.idle, .enrolling, .renewing, .polling(number), .waiting(number)]
    }

    private static let works: [AgentMachine.Work] = [.idle, .applying("h1"), .reconciling]

    private static func events(_ number: Int) -> [AgentEvent] {
        [
            .ticked(renewalIsDue: false), .ticked(renewalIsDue: true), .linkFailed(number: number, trouble),
            .waited(number: number), .answered(number: number, CheckinResponse()),
            .answered(number: number, CheckinResponse(desired: AgentWalk.desired("h2"))),
            .worked(WorkReport(status: AgentWalk.status(.applied, "h1"))),
        ]
    }

    /// Every event in every state: never a second thing of a kind, never a check-in while applying.
    @Test func everyEventInEveryState() {
        for link in Self.links(5) {
            for work in Self.works {
                for event in Self.events(5) + Self.events(4) {
                    var machine = AgentMachine(isEnrolled: link != .enrolling, status: AgentWalk.status(.applied, "h0"))
                    (machine.link, machine.work, machine.sequence) = (link, work, 5)
                    if case .worked = event, work == .idle { continue }
                    let actions = machine.handle(event, unit: 0.5)
                    let place = "\(event) in \(link), \(work): \(actions)"
                    let begun = actions.count { action in
                        switch action {
                        case .apply, .reconcile: true
                        default: false
                        }
                    }
                    let isStillBusy = if case .worked = event { false } else { work != .idle }
                    #expect(begun + (isStillBusy ? 1 : 0) <= 1, "\(place)")
                    let polls = actions.count { if case .checkIn = $0 { true } else { false } }
                    #expect(polls <= 1, "\(place)")
                    if case .applying = machine.work { #expect(polls == 0, "\(place)") }
                    if case .polling(let number) = machine.link, link != machine.link {
                        #expect(number > 5, "\(place)")
                    }
                }
            }
        }
    }
}
