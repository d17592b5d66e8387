// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: natfleet contributors

import FleetAPI
package import FleetModel

/// What the agent does next, as a value: events in, actions out, no clock, no I/O.
///
/// Two activities run side by side and never two of a kind: the *link* (enrol, renew, one held check-in) and the *work*
/// (apply a desired state, or reconcile the kernel with the last one). A check-in is held by the controller, so news from
/// the work ends it: the machine cancels it and checks in again at once. Late results of a cancelled check-in or of an
/// old timer carry their number and are dropped.
package struct AgentMachine: Sendable {
    enum Link: Hashable {
        case idle
        case enrolling
        case renewing
        case polling(Int)
        case waiting(Int)
    }

    enum Work: Hashable {
        case idle
        case applying(String)
        case reconciling
    }

    var link = Link.idle
    var work = Work.idle
    var isEnrolled: Bool
    var renewalIsDue = false
    var backoff = Backoff()
    var sequence = 0
    var status: InstanceStatus
    /// The desired hash that the controller answered last; nil asks for it anew.
    var answeredHash: String?
    var next: DesiredState?
    /// What the controller has yet to hear, and what the check-in under way carries.
    var outcome: Outcome?
    var outcomeSent: Outcome?
    var statusSent: InstanceStatus?
    var lastTrouble: String?
    var heldBecause: String?

    package init(isEnrolled: Bool, status: InstanceStatus) {
        self.isEnrolled = isEnrolled
        self.status = status
    }

    /// The controller holds an answer this long, in seconds.
    static let hold = 50

    /// - Parameter unit: a random number in 0..<1, for the backoff.
    package mutating func handle(_ event: AgentEvent, unit: Double) -> [AgentAction] {
        switch event {
        case .started: startReconcile() + advance()
        case .ticked(let renewalIsDue): tick(renewalIsDue)
        case .enrolled: enrolled()
        case .renewed: renewed()
        case .linkFailed(let number, let trouble): linkFailed(number, trouble, unit)
        case .waited(let number): waited(number)
        case .answered(let number, let response): answered(number, response, unit)
        case .worked(let report): worked(report)
        }
    }

    private mutating func startReconcile() -> [AgentAction] {
        guard work == .idle else { return [] }
        work = .reconciling
        return [.reconcile]
    }

    private mutating func tick(_ renewalIsDue: Bool) -> [AgentAction] {
        self.renewalIsDue = isEnrolled && renewalIsDue
        return startReconcile() + advance()
    }

    /// Starts the next step of the link if it is free. While a desired state is being applied the next check-in waits
    /// for its outcome.
    private mutating func advance() -> [AgentAction] {
        guard link == .idle else { return [] }
        if case .applying = work { return [] }
        if !isEnrolled {
            link = .enrolling
            return [.enrol]
        }
        if renewalIsDue {
            link = .renewing
            return [.renew]
        }
        sequence += 1
        link = .polling(sequence)
        statusSent = status
        outcomeSent = outcome
        let request = CheckinRequest(
            status: status, outcome: outcome, answeredHash: answeredHash, wait: outcome == nil ? Self.hold : 0)
        return [.checkIn(number: sequence, request)]
    }

    private mutating func enrolled() -> [AgentAction] {
        isEnrolled = true
        link = .idle
        return recovered() + advance()
    }

    private mutating func renewed() -> [AgentAction] {
        renewalIsDue = false
        link = .idle
        return recovered() + advance()
    }

    private mutating func linkFailed(_ number: Int?, _ trouble: LinkTrouble, _ unit: Double) -> [AgentAction] {
        if let number {
            guard link == .polling(number) else { return [] }
        }
        if trouble.needsEnrolment { isEnrolled = false }
        // A renewal that fails is tried again at the next tick; the certificate is good for another half life.
        if link == .renewing { renewalIsDue = false }
        sequence += 1
        link = .waiting(sequence)
        let seconds = backoff.failed(unit: unit, retryAfter: trouble.retryAfter)
        // Without its numbers: curl tells for how many milliseconds it tried.
        let reason = trouble.error.message.filter { !$0.isNumber }
        let isNews = lastTrouble != reason
        lastTrouble = reason
        return (isNews ? [.warn(trouble.error)] : []) + [.wait(number: sequence, seconds: seconds)]
    }

    private mutating func waited(_ number: Int) -> [AgentAction] {
        guard link == .waiting(number) else { return [] }
        link = .idle
        return advance()
    }

    private mutating func recovered() -> [AgentAction] {
        backoff.succeeded()
        guard lastTrouble != nil else { return [] }
        lastTrouble = nil
        return [.note("the controller answers again")]
    }

    private mutating func answered(_ number: Int, _ response: CheckinResponse, _ unit: Double) -> [AgentAction] {
        guard link == .polling(number) else { return [] }
        link = .idle
        var actions = recovered()
        if outcome == outcomeSent { outcome = nil }
        if let hold = response.hold, hold != heldBecause {
            actions.append(.warn(FleetError(.layerConflict, hold, remedy: "change one of the policies named")))
        }
        heldBecause = response.hold
        if let desired = response.desired {
            answeredHash = desired.hash
            next = desired
            actions += startNext()
        }
        if response.nextAfter > 0 {
            sequence += 1
            link = .waiting(sequence)
            return actions + [.wait(number: sequence, seconds: Double(response.nextAfter) * (0.5 + unit / 2))]
        }
        return actions + advance()
    }

    private mutating func startNext() -> [AgentAction] {
        guard work == .idle, let desired = next else { return [] }
        next = nil
        guard desired.hash != status.runningHash || status.phase != .applied else { return [] }
        work = .applying(desired.hash)
        return [.apply(desired)]
    }

    private mutating func worked(_ report: WorkReport) -> [AgentAction] {
        work = .idle
        status = report.status
        if let outcome = report.outcome { self.outcome = outcome }
        var actions = startNext()
        if actions.isEmpty, case .polling(let number) = link, outcome != nil || status.differs(from: statusSent) {
            link = .idle
            actions.append(.cancelCheckIn(number: number))
        }
        return actions + advance()
    }
}

extension InstanceStatus {
    /// Whether the controller has to hear of it at once; facts travel with the next check-in.
    fileprivate func differs(from sent: InstanceStatus?) -> Bool {
        sent?.phase != phase || sent?.runningHash != runningHash || sent?.conditions != conditions
    }
}
