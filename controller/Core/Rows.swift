// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: natfleet contributors

package import FleetModel
package import NATPolicy

#if canImport(FoundationEssentials)
    package import FoundationEssentials
#else
    package import Foundation
#endif

/// Milliseconds since 1970, UTC: what the store keeps of a time, equal on every engine.
package struct Timestamp: Hashable, Comparable, Sendable {
    package let milliseconds: Int64

    package init(milliseconds: Int64) { self.milliseconds = milliseconds }

    package init(_ date: Date) { milliseconds = Int64((date.timeIntervalSince1970 * 1000).rounded()) }

    package var date: Date { Date(timeIntervalSince1970: Double(milliseconds) / 1000) }

    package static func < (left: Timestamp, right: Timestamp) -> Bool { left.milliseconds < right.milliseconds }
}

package struct PolicyRow: Hashable, Sendable {
    package var name: String
    /// nil: deleted.
    package var currentRevision: Int?
    /// Numbers go on after a deletion.
    package var lastRevision: Int

    package init(name: String, currentRevision: Int?, lastRevision: Int) {
        self.name = name
        self.currentRevision = currentRevision
        self.lastRevision = lastRevision
    }
}

/// Immutable once stored.
package struct RevisionRow: Hashable, Sendable {
    package var policy: String
    package var revision: Int
    /// SHA-256 of `document`, lower-case hexadecimal.
    package var hash: String
    /// Canonical JSON.
    package var document: String
    package var createdAt: Timestamp
    package var actor: String
    package var message: String?

    package init(
        policy: String, revision: Int, hash: String, document: String, createdAt: Timestamp, actor: String,
        message: String?
    ) {
        self.policy = policy
        self.revision = revision
        self.hash = hash
        self.document = document
        self.createdAt = createdAt
        self.actor = actor
        self.message = message
    }
}

package struct InstanceRow: Hashable, Sendable {
    package enum State: String, Hashable, Sendable {
        case active
        /// May come back.
        case banned
        /// Gone for good.
        case retired
    }

    package var id: String
    package var labels: [String: String]
    package var state: State
    package var cordoned: Bool
    /// `DesiredState.attempt`; 0 when nobody asked.
    package var attempt: Int
    package var enrolledAt: Timestamp
    package var lastSeen: Timestamp?

    package init(
        id: String, labels: [String: String], state: State, cordoned: Bool = false, attempt: Int = 0,
        enrolledAt: Timestamp, lastSeen: Timestamp? = nil
    ) {
        self.id = id
        self.labels = labels
        self.state = state
        self.cordoned = cordoned
        self.attempt = attempt
        self.enrolledAt = enrolledAt
        self.lastSeen = lastSeen
    }
}

/// One instance should run one policy at one revision.
package struct AssignmentRow: Hashable, Sendable {
    package var instance: String
    package var policy: String
    package var revision: Int

    package var layer: EffectivePolicy.Layer { .init(policy: policy, revision: revision) }

    package init(instance: String, policy: String, revision: Int) {
        self.instance = instance
        self.policy = policy
        self.revision = revision
    }
}

/// What an instance last said of itself.
package struct StatusRow: Hashable, Sendable {
    package var instance: String
    package var status: InstanceStatus
    package var outcome: Outcome?
    package var changedAt: Timestamp

    package init(instance: String, status: InstanceStatus, outcome: Outcome?, changedAt: Timestamp) {
        self.instance = instance
        self.status = status
        self.outcome = outcome
        self.changedAt = changedAt
    }
}

package struct CertificateRow: Hashable, Sendable {
    package enum State: String, Hashable, Sendable {
        case active
        /// Issued by a renewal and not used yet; its first use makes it the active one.
        case pending
        /// A successor is in use.
        case superseded
        case revoked
    }

    /// Lower-case hexadecimal without leading zeros.
    package var serial: String
    package var instance: String
    /// SHA-256 of the public key (X9.63 form).
    package var keyHash: String
    package var state: State
    package var issuedAt: Timestamp
    package var expiresAt: Timestamp
    /// The join token that it was enrolled with; nil for renewals.
    package var joinToken: String?

    package init(
        serial: String, instance: String, keyHash: String, state: State, issuedAt: Timestamp, expiresAt: Timestamp,
        joinToken: String?
    ) {
        self.serial = serial
        self.instance = instance
        self.keyHash = keyHash
        self.state = state
        self.issuedAt = issuedAt
        self.expiresAt = expiresAt
        self.joinToken = joinToken
    }
}

package struct JoinTokenRow: Hashable, Sendable {
    package var id: String
    /// SHA-256 of the secret.
    package var hash: String
    package var instance: String?
    package var labels: [String: String]
    package var usesLeft: Int
    package var createdAt: Timestamp
    package var expiresAt: Timestamp
    package var revoked: Bool

    package init(
        id: String, hash: String, instance: String?, labels: [String: String], usesLeft: Int, createdAt: Timestamp,
        expiresAt: Timestamp, revoked: Bool = false
    ) {
        self.id = id
        self.hash = hash
        self.instance = instance
        self.labels = labels
        self.usesLeft = usesLeft
        self.createdAt = createdAt
        self.expiresAt = expiresAt
        self.revoked = revoked
    }
}

package struct OperatorTokenRow: Hashable, Sendable {
    /// SHA-256 of the secret.
    package var hash: String
    package var name: String
    package var role: OperatorRole
    package var createdAt: Timestamp

    package init(hash: String, name: String, role: OperatorRole, createdAt: Timestamp) {
        self.hash = hash
        self.name = name
        self.role = role
        self.createdAt = createdAt
    }
}

package struct NewEvent: Hashable, Sendable {
    package var at: Timestamp
    package var actor: String
    package var kind: String
    package var subject: String
    package var detail: String

    package init(at: Timestamp, actor: String, kind: String, subject: String, detail: String) {
        self.at = at
        self.actor = actor
        self.kind = kind
        self.subject = subject
        self.detail = detail
    }
}

package struct EventRow: Hashable, Sendable {
    package var id: Int
    package var event: NewEvent

    package init(id: Int, event: NewEvent) {
        self.id = id
        self.event = event
    }
}
