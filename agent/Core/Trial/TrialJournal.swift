// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: natfleet contributors

package import FleetAPI
package import FleetModel
package import NATPolicy

#if canImport(FoundationEssentials)
    package import FoundationEssentials
#else
    package import Foundation
#endif

/// On disk from before the first touch of the kernel until the change is confirmed or taken back: where it is found at
/// start, the agent ended in a trial.
package struct TrialJournal: Codable, Hashable, Sendable {
    /// Another one for each trial, also of the same desired state: where `applied.json` names it, the trial was confirmed.
    /// nil for what an older agent wrote.
    package var id: String?
    package var desired: DesiredState
    /// What it was compiled for.
    package var facts: HostFacts
    package var deadline: Date
    /// /proc/sys/kernel/random/boot_id: after a reboot the kernel holds nothing of the trial.
    package var bootID: String
    package var before: Snapshot
}

/// A desired state that did not run here, and why: not tried again until something changes or an operator asks. On disk,
/// since an agent that starts anew must not try it either.
package struct Refusal: Codable, Hashable, Sendable {
    /// With the attempt that it did not run in: a later one is another request to try.
    package var desired: DesiredState
    /// nil where the host was not looked at.
    package var facts: HostFacts?
    package var outcome: Outcome
    package var cause: FailureCause?
    /// Of the trial that ended in this (`TrialJournal.id`); nil where it was not armed, or for what an older agent wrote.
    package var trial: String?
}
