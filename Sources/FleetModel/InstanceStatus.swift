// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: natfleet contributors

package import NATPolicy

#if canImport(FoundationEssentials)
    package import FoundationEssentials
#else
    package import Foundation
#endif

/// What an agent says of its instance; everything in it was read back from the kernel or from disk.
package struct InstanceStatus: Codable, Hashable, Sendable {
    package enum Phase: String, Codable, Hashable, Sendable {
        /// No policy has been applied yet.
        case idle
        /// A change is under way, or the agent has just started and has not looked at the kernel yet.
        case applying
        /// The running hash is the desired one, read back and persisted.
        case applied
        /// The last desired policy was refused before anything was touched.
        case refused
        /// Applying failed; what ran before runs.
        case failed
        /// The last desired policy ran, was not proven or not confirmed, and was taken back.
        case reverted
    }

    package var phase: Phase
    /// Hash of the effective policy that is in the kernel now; nil before the first.
    package var runningHash: String?
    /// The layers of the running policy.
    package var layers: [EffectivePolicy.Layer]
    /// Worst first; empty means healthy.
    package var conditions: [Condition]
    package var agentVersion: String
    package var facts: HostFacts?
    /// nil until something had to be put back.
    package var drift: Drift?
    /// By whose means rules survive a reboot; nil until something was saved.
    package var persistence: String?

    package init(
        phase: Phase,
        runningHash: String? = nil,
        layers: [EffectivePolicy.Layer] = [],
        conditions: [Condition] = [],
        agentVersion: String,
        facts: HostFacts? = nil
    ) {
        self.phase = phase
        self.runningHash = runningHash
        self.layers = layers
        self.conditions = conditions
        self.agentVersion = agentVersion
        self.facts = facts
    }
}

/// Rules or sysctls that others changed and the agent put back, since the agent started.
package struct Drift: Codable, Hashable, Sendable {
    package var repairs: Int
    package var lastAt: Date
    /// What differed, the first few.
    package var lastDifference: String

    package init(repairs: Int, lastAt: Date, lastDifference: String) {
        self.repairs = repairs
        self.lastAt = lastAt
        self.lastDifference = lastDifference
    }
}

/// How the last try to run a desired hash ended.
package struct Outcome: Codable, Hashable, Sendable {
    package enum Result: String, Codable, CaseIterable, Hashable, Sendable {
        case applied
        case refused
        case failed
        case reverted
    }

    package var hash: String
    package var result: Result
    /// Why, for refused, failed and reverted; what was resolved (families, interface, addresses), for applied.
    package var detail: String
    package var at: Date

    package init(hash: String, result: Result, detail: String, at: Date) {
        self.hash = hash
        self.result = result
        self.detail = detail
        self.at = at
    }
}

/// One NAT instance as the controller knows it.
package struct Instance: Codable, Hashable, Sendable {
    package enum Health: String, Codable, CaseIterable, Hashable, Sendable {
        /// Never checked in since it enrolled.
        case unknown
        case healthy
        case degraded
        /// Not heard of for 150 s.
        case offline
    }

    package var id: String
    package var labels: [String: String]
    /// Set by an operator: what it should run stays as it is, whatever changes, until this is taken away.
    package var cordoned: Bool
    package var enrolledAt: Date
    package var lastSeen: Date?
    package var health: Health
    /// What it should run; nil when its layers conflict.
    package var desiredHash: String?
    /// Layers it should run, in (priority, name) order.
    package var desiredLayers: [EffectivePolicy.Layer]
    package var status: InstanceStatus?
    package var lastOutcome: Outcome?
    /// The certificate's end.
    package var certificateExpires: Date?

    package init(
        id: String,
        labels: [String: String],
        cordoned: Bool = false,
        enrolledAt: Date,
        lastSeen: Date? = nil,
        health: Health = .unknown,
        desiredHash: String? = nil,
        desiredLayers: [EffectivePolicy.Layer] = [],
        status: InstanceStatus? = nil,
        lastOutcome: Outcome? = nil,
        certificateExpires: Date? = nil
    ) {
        self.id = id
        self.labels = labels
        self.cordoned = cordoned
        self.enrolledAt = enrolledAt
        self.lastSeen = lastSeen
        self.health = health
        self.desiredHash = desiredHash
        self.desiredLayers = desiredLayers
        self.status = status
        self.lastOutcome = lastOutcome
        self.certificateExpires = certificateExpires
    }
}

extension Instance {
    /// How the last try of what it should run ended, where that is not what it runs: an operator may have it tried again.
    package var failedTry: Outcome? {
        guard let lastOutcome, lastOutcome.result != .applied, lastOutcome.hash == desiredHash,
            status?.runningHash != desiredHash
        else { return nil }
        return lastOutcome
    }
}
