// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: natfleet contributors

import FleetAPI
package import FleetModel

/// What the agent does next, as a value: events in, actions out, no clock, no I/O.
///
/// Two activities run side by side and never two of a kind: the *link* (enrol, renew, one held check-in) and the *work*
/// (the trial of a desired state, or reconciling the kernel with the last one). A check-in is held by the controller, so
/// news from the work ends it: the machine cancels it and checks in again at once. Late results of a cancelled check-in or
/// of an old timer carry their number and are dropped.
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
        case trying
        case reconciling
    }

    var link = Link.idle
    var work = Work.idle
    var trial = TrialMachine()
    var pace: Pace
    var isEnrolled: Bool
    var renewalIsDue = false
    /// What the status would say is not known yet: an agent that has just started has not looked at what it kept.
    var awaitsFirstLook: Bool
    var startedAt = 0.0
    var backoff = Backoff()
    var sequence = 0
    var status: InstanceStatus
    /// The desired hash that the controller answered last; nil asks for it anew.
    var answeredHash: String?
    /// Which of an operator's requests to try again came with it.
    var answeredAttempt = 0
    var next: DesiredState?
    /// What the controller has yet to hear, and what the check-in under way carries.
    var outcome: Outcome?
    var outcomeSent: Outcome?
    var statusSent: InstanceStatus?
    var lastTrouble: String?
    var heldBecause: String?

    package init(isEnrolled: Bool, status: InstanceStatus, wholeLook: Double = 300) {
        self.isEnrolled = isEnrolled
        self.status = status
        self.pace = Pace(whole: wholeLook)
        awaitsFirstLook = status.phase == .applying
    }

    /// The controller holds an answer this long, in seconds.
    static let hold = 50
    /// The first check-in waits this long for the first look, in seconds, so that it neither tells what nobody has read nor
    /// makes a healthy instance look degraded for a moment.
    static let firstLookPatience = 15.0
    /// Longest wait between two tries to have a trial confirmed, in seconds.
    static let confirmPause = 3.0

    /// - Parameters:
    ///   - now: seconds of a clock that never goes back.
    ///   - unit: a random number in 0..<1, for the backoff.
    package mutating func handle(_ event: AgentEvent, now: Double, unit: Double) -> [AgentAction] {
        switch event {
        case .started: started(now)
        case .ticked(let renewalIsDue): tick(renewalIsDue, now)
        case .enrolled: enrolled()
        case .renewed: renewed()
        case .linkFailed(let number, let trouble): linkFailed(number, trouble, unit)
        case .waited(let number): waited(number)
        case .answered(let number, let response): answered(number, response, now, unit)
        case .reconciled(let report): reconciled(report, now)
        case .stepped(let event, let report): stepped(event, report, now)
        case .moved(let look): moved(look, now)
        }
    }

    /// Seconds until a tick may find something to do, if no event comes before.
    package func rest(_ now: Double) -> Double {
        if work == .trying || next != nil || awaitsFirstLook { return 1 }
        return pace.rest(now)
    }

    private mutating func started(_ now: Double) -> [AgentAction] {
        startedAt = now
        return drive(.started, now) + advance()
    }

    private mutating func tick(_ renewalIsDue: Bool, _ now: Double) -> [AgentAction] {
        if now - startedAt >= Self.firstLookPatience { awaitsFirstLook = false }
        self.renewalIsDue = isEnrolled && renewalIsDue
        let actions = work == .trying ? drive(.ticked, now) : startWork(now)
        return actions + advance()
    }

    private mutating func moved(_ look: Look, _ now: Double) -> [AgentAction] {
        pace.heard(look)
        return startWork(now)
    }

    /// Begins what the work is free for: a desired state before a look at the kernel.
    private mutating func startWork(_ now: Double) -> [AgentAction] {
        guard work == .idle else { return [] }
        if let desired = next {
            next = nil
            if desired.hash != status.runningHash || status.phase != .applied { return drive(.offered(desired), now) }
        }
        guard let look = pace.due(now) else { return [] }
        pace.begin(look, now)
        work = .reconciling
        return [.reconcile(look)]
    }

    /// Feeds the trial and carries out what it wants of the link.
    private mutating func drive(_ event: TrialEvent, _ now: Double) -> [AgentAction] {
        let wanted = trial.handle(event, now: now)
        work = trial.state == .idle ? .idle : .trying
        var actions: [AgentAction] = []
        for action in wanted {
            switch action {
            case .perform(let step):
                if case .revert = step { actions += forgetConfirmation() }
                actions.append(.perform(step))
            case .confirm:
                // Whatever the link waited for, this is more urgent.
                if case .waiting = link { link = .idle }
            case .finish: pace.reset()
            }
        }
        return actions
    }

    /// What runs is not what the check-in under way says.
    private mutating func forgetConfirmation() -> [AgentAction] {
        guard outcome?.result == .applied else { return [] }
        outcome = nil
        guard case .polling(let number) = link else { return [] }
        link = .idle
        return [.cancelCheckIn(number: number)]
    }

    /// Starts the next step of the link if it is free. While a desired state is being tried the next check-in waits for
    /// its outcome.
    private mutating func advance() -> [AgentAction] {
        guard link == .idle, !trial.state.holdsTheLink else { return [] }
        if !isEnrolled {
            link = .enrolling
            return [.enrol]
        }
        if renewalIsDue {
            link = .renewing
            return [.renew]
        }
        if awaitsFirstLook { return [] }
        sequence += 1
        link = .polling(sequence)
        statusSent = status
        outcomeSent = outcome
        let request = CheckinRequest(
            status: status, outcome: outcome, answeredHash: answeredHash, answeredAttempt: answeredAttempt,
            wait: outcome == nil ? Self.hold : 0)
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
        var seconds = backoff.failed(unit: unit, retryAfter: trouble.retryAfter)
        if trial.state == .confirming { seconds = min(seconds, Self.confirmPause) }
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

    private mutating func answered(
        _ number: Int, _ response: CheckinResponse, _ now: Double, _ unit: Double
    ) -> [AgentAction] {
        guard link == .polling(number) else { return [] }
        link = .idle
        var actions = recovered()
        if outcome == outcomeSent {
            if outcome?.result == .applied { actions += drive(.confirmed, now) }
            outcome = nil
        }
        if let hold = response.hold, hold != heldBecause {
            actions.append(.warn(FleetError(.layerConflict, hold, remedy: "change one of the policies named")))
        }
        heldBecause = response.hold
        if let desired = response.desired {
            (answeredHash, answeredAttempt) = (desired.hash, desired.attempt ?? 0)
            next = desired
            actions += startWork(now)
        }
        if response.nextAfter > 0 {
            sequence += 1
            link = .waiting(sequence)
            return actions + [.wait(number: sequence, seconds: Double(response.nextAfter) * (0.5 + unit / 2))]
        }
        return actions + advance()
    }

    private mutating func reconciled(_ report: WorkReport, _ now: Double) -> [AgentAction] {
        work = .idle
        pace.end(report.look, now)
        awaitsFirstLook = false
        if next == nil { next = report.retry }
        take(report)
        return startWork(now) + tellNews()
    }

    private mutating func stepped(_ event: TrialEvent, _ report: WorkReport, _ now: Double) -> [AgentAction] {
        take(report)
        return drive(event, now) + startWork(now) + tellNews()
    }

    private mutating func take(_ report: WorkReport) {
        status = report.status
        if let outcome = report.outcome { self.outcome = outcome }
    }

    /// Ends a held check-in that tells something else than what is the case.
    private mutating func tellNews() -> [AgentAction] {
        guard case .polling(let number) = link, !trial.state.holdsTheLink,
            outcome != outcomeSent || status.differs(from: statusSent)
        else { return advance() }
        link = .idle
        return [.cancelCheckIn(number: number)] + advance()
    }
}

extension TrialMachine.State {
    /// Whether the next check-in waits for what comes of the step under way.
    fileprivate var holdsTheLink: Bool {
        switch self {
        case .staging, .testing, .arming, .applying, .proving, .persisting: true
        case .idle, .recovering, .confirming, .reverting, .stuck: false
        }
    }
}

extension InstanceStatus {
    /// Whether the controller has to hear of it at once; facts travel with the next check-in.
    fileprivate func differs(from sent: InstanceStatus?) -> Bool {
        sent?.phase != phase || sent?.runningHash != runningHash || sent?.conditions != conditions
    }
}
