// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: natfleet contributors

import FleetAPI
package import NATPolicy
package import NetAddress
package import Netfilter

#if canImport(FoundationEssentials)
    package import FoundationEssentials
#else
    package import Foundation
#endif

/// What was read of a machine, with nothing judged. `Inspector` fills the first part; the caller adds what other edges read.
package struct Inspection: Sendable {
    package struct Family: Sendable {
        /// nil where the kernel has no such key: the family is off.
        package var forwarding: String?
        /// natfleet's own, with counters.
        package var rules: Result<OwnedState, KernelError>
        /// What they should be, as this host spells them.
        package var wanted: Result<OwnedState, KernelError>
        /// Lines of `ip route show`.
        package var routes: Result<[String], KernelError>
    }

    package struct Setting: Hashable, Sendable {
        package var key: String
        package var wanted: String
        package var found: String
    }

    /// What another edge knows of the agent's certificate.
    package struct Identity: Hashable, Sendable {
        package var instanceID: String
        package var starts: Date
        package var expires: Date

        package init(instanceID: String, starts: Date, expires: Date) {
            (self.instanceID, self.starts, self.expires) = (instanceID, starts, expires)
        }
    }

    /// How a call of the controller ended.
    package struct Reach: Hashable, Sendable {
        /// nil where it answered and is the one that the configuration names.
        package var fault: String?
        package var remedy: String?
        /// What its clock said, to the second.
        package var date: Date?

        package init(fault: String? = nil, remedy: String? = nil, date: Date? = nil) {
            (self.fault, self.remedy, self.date) = (fault, remedy, date)
        }
    }

    package var now: Date
    /// nil where it may not be seen.
    package var agentRunning: Bool?
    package var agentRuns: Bool { agentRunning ?? false }
    /// What could not be read or understood of the state folder.
    package var stateFaults: [String] = []
    package var applied: AppliedState?
    package var refusal: Refusal?
    package var trial: TrialJournal?
    /// What the running agent says is the matter; nil where none runs, or it could not say.
    package var told: ToldConditions?
    /// As they are, nil with a fault; what was lost since the policy was applied is put back in `compiled`.
    package var facts: HostFacts?
    package var factsFault: String?
    package var lost: [String] = []
    /// What was applied, on this host as it is now, or with a fault as it was then.
    package var compiled: CompiledPolicy?
    package var compileFault: String?
    package var families: [IPFamily: Family] = [:]
    /// Kernel settings of the policy, forwarding left out, that are due here.
    package var settings: [Setting] = []
    /// `accept_ra` of the interface that the IPv6 default route leaves by, or else IPv4's; nil where there is neither.
    package var routerAdvertisements: (interface: String, value: String?)?
    package var persistence: PersistenceReport?
    /// How many clients have a translated connection now; nil where nobody could look.
    package var clients: Int?
    /// Connections that the rules would translate and that go untranslated.
    package var untranslated: [TrackedFlow] = []

    // MARK: What others add

    package var configuration: Configuration?
    package var configurationFault: String?
    package var identity: Identity?
    package var identityFault: String?
    package var reach: Reach?
    package var conntrack: ConntrackUsage?
    /// The kernel was told lately what time it is (adjtimex(2)); nil where nobody knows.
    package var isClockKept: Bool?
    /// nil where nobody sent packets.
    package var findings: [ProbeFinding]?

    package init(now: Date, agentRunning: Bool?) { (self.now, self.agentRunning) = (now, agentRunning) }

    /// False where the state folder keeps what was applied to itself.
    package var isPolicyKnown: Bool { applied != nil || stateFaults.isEmpty }

    package subscript(family: IPFamily) -> Family? { families[family] }

    /// Whether the policy wants a family to leave by this host.
    package func isWanted(_ family: IPFamily) -> Bool {
        guard let policy = applied?.desired.policy else { return false }
        return policy.forwarding[family] || compiled?.masquerades.contains { $0.family == family } ?? false
    }

    /// Whether forwarding has to be on, as the policy turned out on this host.
    package func isForwardingWanted(_ family: IPFamily) -> Bool {
        compiled?.forwarding.contains { $0.key == family.forwardingKey } ?? false
    }
}
