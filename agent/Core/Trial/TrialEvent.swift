// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: natfleet contributors

package import FleetAPI

/// What happens to a trial.
package enum TrialEvent: Hashable, Sendable {
    /// The agent begins.
    case started
    case offered(DesiredState)
    /// The step under way is done.
    case succeeded
    /// The step under way could not be done; what it had touched was taken back where that is the step's duty.
    case failed(TrialFailure)
    /// Taking back did not succeed; it has to be tried again.
    case stuck(TrialFailure)
    /// The controller has answered, over a connection made after the change, a check-in that carried the outcome.
    case confirmed
    /// A second or so went by.
    case ticked
}

/// What has to be done; `perform` ends in one event, `confirm` in `confirmed` or never.
package enum TrialAction: Hashable, Sendable {
    case perform(TrialStep)
    /// Tell the controller, over a new connection.
    case confirm
    /// The trial is over: nil when what was tried runs.
    case finish(TrialFailure?)
}

package enum TrialStep: Hashable, Sendable {
    /// Take back a trial that an agent before this one left on disk.
    case recover
    /// Compile for the facts of now.
    case stage(DesiredState)
    /// Load it whole into a throwaway network namespace.
    case test
    /// Write to disk what is needed to go back.
    case arm(seconds: Int)
    /// Touch the kernel and read it back.
    case apply
    /// Send packets.
    case prove
    /// Save it, end flows that the change has made wrong, forget the way back, and save it by the distribution's means.
    case persist
    case revert(TrialFailure)
}
