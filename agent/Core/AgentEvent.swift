// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: natfleet contributors

package import FleetAPI
package import FleetModel

/// What happens to the agent.
package enum AgentEvent: Sendable {
    case started
    /// Every second. `renewalIsDue`: the certificate is past its half life.
    case ticked(renewalIsDue: Bool)
    case enrolled
    case renewed
    /// `number` is that of a check-in; nil for enrolment and renewal.
    case linkFailed(number: Int?, LinkTrouble)
    case waited(number: Int)
    case answered(number: Int, CheckinResponse)
    /// The reconciliation under way is done.
    case reconciled(WorkReport)
    /// A step of the trial has ended.
    case stepped(TrialEvent, WorkReport)
    /// The kernel says that rules, interfaces, addresses or routes changed.
    case moved(Look)
}

/// What the shell has to do; each ends in one event, save `warn`, `note` and `cancelCheckIn`.
package enum AgentAction: Hashable, Sendable {
    case enrol
    case renew
    case checkIn(number: Int, CheckinRequest)
    case cancelCheckIn(number: Int)
    case wait(number: Int, seconds: Double)
    case perform(TrialStep)
    case reconcile(Look)
    case warn(FleetError)
    case note(String)
}

/// Why the controller did not serve the agent.
package struct LinkTrouble: Error, Hashable, Sendable {
    package var error: FleetError
    /// Seconds, from the answer's Retry-After.
    package var retryAfter: Double?
    /// The controller does not take this identity any more, and there is a new join token to get another one.
    package var needsEnrolment = false

    package init(_ error: FleetError, retryAfter: Double? = nil) {
        self.error = error
        self.retryAfter = retryAfter
    }
}

/// What a step of a trial or a reconciliation found and did.
package struct WorkReport: Hashable, Sendable {
    package var status: InstanceStatus
    /// What the controller has to hear of a try.
    package var outcome: Outcome?
    /// What was refused or failed before and is worth another try.
    package var retry: DesiredState?
    package var look = LookResult()
    /// Whether proving a change moved rules once more, so that nothing from before shows what they let through.
    package var hasMovedRules = false

    package init(status: InstanceStatus, outcome: Outcome? = nil, retry: DesiredState? = nil) {
        self.status = status
        self.outcome = outcome
        self.retry = retry
    }
}
