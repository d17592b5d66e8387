// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: natfleet contributors

package import FleetAPI
package import FleetModel
import NATPolicy

/// A desired state on its way into the kernel and to the disk, or back (DESIGN §6), as a value: no clock, no I/O.
///
/// ```
/// idle -> staging -> testing -> arming -> applying -> proving -> confirming -> persisting -> idle
///            |          |          |         |           |           |
///            +----------+----------+ refused or failed   +-- deadline or failure --> reverting -> idle
/// ```
/// A state is named after the step that is under way. Until `arming` has ended nothing was touched, so there is nothing to
/// take back; from then on every way out but the controller's confirmation leads through `reverting`.
package struct TrialMachine: Hashable, Sendable {
    package enum State: Hashable, Sendable {
        case idle
        /// The agent has started: a trial that it finds on disk is taken back before anything else.
        case recovering
        case staging
        case testing
        case arming
        case applying
        case proving
        case confirming
        case persisting
        case reverting(TrialFailure)
        /// Taking back failed; it is tried again at a tick, after a pause that grows.
        case stuck(TrialFailure)
    }

    package private(set) var state = State.idle
    /// What is tried.
    package private(set) var desired: DesiredState?
    /// When the trial ends unconfirmed, in seconds of the clock that `now` is of.
    package private(set) var deadline: Double?
    /// Of taking back, that failed in a row.
    private var tries = 0
    private var nextTry = -Double.infinity

    package init() {}

    #if DEBUG
        /// For tests that try every state.
        init(state: State, desired: DesiredState?, deadline: Double?) {
            (self.state, self.desired, self.deadline) = (state, desired, deadline)
        }
    #endif

    /// - Parameter now: seconds of a clock that never goes back.
    package mutating func handle(_ event: TrialEvent, now: Double) -> [TrialAction] {
        switch (state, event) {
        case (.idle, .started): enter(.recovering, .recover)
        case (.idle, .offered(let new)): begin(new)
        case (.recovering, .succeeded): end(nil)
        case (.recovering, .failed(let failure)): end(failure)
        case (.recovering, .stuck(let failure)): getStuck(failure, now)

        case (.staging, .succeeded): enter(.testing, .test)
        case (.testing, .succeeded): arm(now)
        case (.staging, .failed(let failure)), (.testing, .failed(let failure)), (.arming, .failed(let failure)):
            end(failure)

        case (.arming, .succeeded): enter(.applying, .apply)
        case (.applying, .succeeded): isLate(now) ? revert(.late) : enter(.proving, .prove)
        case (.proving, .succeeded): isLate(now) ? revert(.late) : confirm()
        case (.applying, .failed(let failure)), (.proving, .failed(let failure)): revert(failure)
        case (.confirming, .confirmed): enter(.persisting, .persist)
        case (.confirming, .ticked): isLate(now) ? revert(.unconfirmed) : []
        case (.confirming, .failed(let failure)): revert(failure)

        // What was confirmed runs, even where it cannot be saved: that shows as a condition and is tried again.
        case (.persisting, .succeeded), (.persisting, .failed): end(nil)

        case (.reverting(let failure), .succeeded): end(failure)
        case (.reverting(let failure), .failed), (.reverting(let failure), .stuck): getStuck(failure, now)
        case (.stuck(let failure), .ticked): now >= nextTry ? revert(failure) : []
        default: []
        }
    }

    private mutating func enter(_ state: State, _ step: TrialStep) -> [TrialAction] {
        self.state = state
        return [.perform(step)]
    }

    private mutating func begin(_ new: DesiredState) -> [TrialAction] {
        desired = new
        return enter(.staging, .stage(new))
    }

    private mutating func arm(_ now: Double) -> [TrialAction] {
        let seconds = desired?.policy.confirmTimeout ?? EffectivePolicy.defaultConfirmTimeout
        deadline = now + Double(seconds)
        return enter(.arming, .arm(seconds: seconds))
    }

    private mutating func confirm() -> [TrialAction] {
        state = .confirming
        return [.confirm]
    }

    private mutating func revert(_ failure: TrialFailure) -> [TrialAction] {
        enter(.reverting(failure), .revert(failure))
    }

    /// The next tick tries again, then 1, 2, 4, 8 and 10 s have to pass: each try runs a dozen programs, on a machine that has
    /// no room for them perhaps, and on one that is well again 10 s are short.
    private mutating func getStuck(_ failure: TrialFailure, _ now: Double) -> [TrialAction] {
        state = .stuck(failure)
        nextTry = now + [0, 1, 2, 4, 8, 10][min(tries, 5)]
        tries += 1
        return []
    }

    private mutating func end(_ failure: TrialFailure?) -> [TrialAction] {
        let wasTrial = desired != nil || failure != nil
        self = TrialMachine()
        return wasTrial ? [.finish(failure)] : []
    }

    private func isLate(_ now: Double) -> Bool { deadline.map { now >= $0 } ?? false }
}

/// Why a trial did not end in a confirmed change.
package struct TrialFailure: Error, Hashable, Sendable, CustomStringConvertible {
    /// `refused` and `failed` before anything was kept, `reverted` after.
    package var result: Outcome.Result
    package var reason: String
    package var cause: FailureCause?

    package init(_ result: Outcome.Result, _ reason: String, cause: FailureCause? = nil) {
        self.result = result
        self.reason = reason
        self.cause = cause
    }

    init(_ result: Outcome.Result, _ failure: ChangeFailure) {
        self.init(result, failure.description, cause: failure.cause)
    }

    package var description: String { reason }

    static let late = TrialFailure(.reverted, "applying and proving took longer than the trial may")
    static let unconfirmed = TrialFailure(
        .reverted,
        "the controller did not confirm in time over a new connection: it could not be reached with this policy")
}
