// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: natfleet contributors

package import FleetModel
package import NATPolicy

#if canImport(FoundationEssentials)
    package import FoundationEssentials
#else
    package import Foundation
#endif

/// A file of policy documents as the operator has it: YAML, several documents a file, or JSON.
package struct PolicyFile: Codable, Hashable, Sendable {
    /// As the operator named it; diagnostics repeat it.
    package var name: String
    package var text: String

    package init(name: String, text: String) {
        self.name = name
        self.text = text
    }
}

/// `POST /v1/apply`: all documents of all files, or none.
package struct ApplyRequest: Codable, Hashable, Sendable {
    package var files: [PolicyFile]
    /// Why; kept with each revision that this makes. At most 1,000 bytes.
    package var message: String?
    /// The revision that the policy has now as far as the operator knows, 0 for one that is not there: another one is a
    /// conflict. Only with files that hold a single document.
    package var expectRevision: Int?

    package init(files: [PolicyFile], message: String? = nil, expectRevision: Int? = nil) {
        self.files = files
        self.message = message
        self.expectRevision = expectRevision
    }
}

package struct ApplyResponse: Codable, Hashable, Sendable {
    package var policies: [PolicyChange]

    package init(policies: [PolicyChange]) { self.policies = policies }
}

/// What an apply, delete or undo did to one policy.
package struct PolicyChange: Codable, Hashable, Sendable {
    package enum Action: String, Codable, Hashable, Sendable {
        case created
        case updated
        case unchanged
        case deleted
    }

    package var name: String
    package var action: Action
    /// The revision that its instances should run now; the last one for a deleted policy.
    package var revision: Int
    /// Instances whose desired state this concerns, by id.
    package var instances: [String]
    /// Cordoned instances that it passed over, by id: they keep what they have of the policy until they are uncordoned.
    package var cordoned: [String]

    package init(name: String, action: Action, revision: Int, instances: [String], cordoned: [String] = []) {
        self.name = name
        self.action = action
        self.revision = revision
        self.instances = instances
        self.cordoned = cordoned
    }
}

/// `POST /v1/delete`: policies by name, all or none.
package struct DeleteRequest: Codable, Hashable, Sendable {
    package var names: [String]

    package init(names: [String]) { self.names = names }
}

/// A row of `GET /v1/policies`; `GET /v1/policies/NAME` fills `document` and `instances`.
package struct PolicyView: Codable, Hashable, Sendable {
    package var name: String
    package var revision: Int
    package var hash: String
    package var createdAt: Date
    package var document: PolicyDocument
    /// Instances that should run the policy, and how they stand to its revision.
    package var instances: [PolicyMember]

    package init(
        name: String, revision: Int, hash: String, createdAt: Date, document: PolicyDocument, instances: [PolicyMember]
    ) {
        self.name = name
        self.revision = revision
        self.hash = hash
        self.createdAt = createdAt
        self.document = document
        self.instances = instances
    }
}

package struct PolicyMember: Codable, Hashable, Sendable {
    package var instance: String
    /// The revision that it should run.
    package var assigned: Int
    /// The revision that it says it runs; nil when it runs none.
    package var running: Int?
    package var health: Instance.Health

    package init(instance: String, assigned: Int, running: Int?, health: Instance.Health) {
        self.instance = instance
        self.assigned = assigned
        self.running = running
        self.health = health
    }
}

/// A row of `GET /v1/policies/NAME/revisions`, newest first.
package struct RevisionView: Codable, Hashable, Sendable {
    package var policy: String
    package var revision: Int
    /// SHA-256 of the canonical JSON of `document`, lower-case hexadecimal.
    package var hash: String
    package var createdAt: Date
    package var actor: String
    /// What the operator said, or natfleet (`undo to revision 3`).
    package var message: String?
    package var document: PolicyDocument

    package init(
        policy: String, revision: Int, hash: String, createdAt: Date, actor: String, message: String?,
        document: PolicyDocument
    ) {
        self.policy = policy
        self.revision = revision
        self.hash = hash
        self.createdAt = createdAt
        self.actor = actor
        self.message = message
        self.document = document
    }
}

/// `POST /v1/policies/NAME/undo`: a new revision with the content of an old one, the one before by default.
package struct UndoRequest: Codable, Hashable, Sendable {
    package var toRevision: Int?

    package init(toRevision: Int? = nil) { self.toRevision = toRevision }
}

/// `POST /v1/tokens`: a join token to be made.
package struct TokenRequest: Codable, Hashable, Sendable {
    /// The instance id that the token vouches for; nil makes `ext-…` of what the machine calls itself.
    package var instanceID: String?
    package var labels: [String: String]
    /// How many machines may enrol with it.
    package var uses: Int
    /// Seconds until it ends.
    package var ttl: Int

    package init(instanceID: String? = nil, labels: [String: String] = [:], uses: Int = 1, ttl: Int = 3600) {
        self.instanceID = instanceID
        self.labels = labels
        self.uses = uses
        self.ttl = ttl
    }
}

package struct TokenView: Codable, Hashable, Sendable {
    package var id: String
    /// Only in the answer that makes it; stored hashed.
    package var secret: String?
    package var instanceID: String?
    package var labels: [String: String]
    package var usesLeft: Int
    package var createdAt: Date
    package var expiresAt: Date
    package var revoked: Bool

    package init(
        id: String, secret: String?, instanceID: String?, labels: [String: String], usesLeft: Int, createdAt: Date,
        expiresAt: Date, revoked: Bool
    ) {
        self.id = id
        self.secret = secret
        self.instanceID = instanceID
        self.labels = labels
        self.usesLeft = usesLeft
        self.createdAt = createdAt
        self.expiresAt = expiresAt
        self.revoked = revoked
    }
}

/// `GET /v1/events`: which events.
package struct EventFilter: Hashable, Sendable {
    /// 1 to 1,000.
    package var limit: Int
    /// Not older than this.
    package var since: Date?
    /// `operator:admin`, `instance:i-0abc`, `controller`, or only the name behind the colon.
    package var actor: String?

    package init(limit: Int = 100, since: Date? = nil, actor: String? = nil) {
        self.limit = limit
        self.since = since
        self.actor = actor
    }
}

/// A row of `GET /v1/events?limit=N&since=TIME&actor=NAME`, newest first: who did what, when.
package struct Event: Codable, Hashable, Sendable {
    package var id: Int
    package var at: Date
    /// `operator:admin`, `instance:i-0abc`, `controller`.
    package var actor: String
    /// Dotted, past tense: `policy.applied`, `instance.enrolled`, `token.revoked`.
    package var kind: String
    /// What it happened to: `policy/web`, `instance/i-0abc`.
    package var subject: String
    package var detail: String

    package init(id: Int, at: Date, actor: String, kind: String, subject: String, detail: String) {
        self.id = id
        self.at = at
        self.actor = actor
        self.kind = kind
        self.subject = subject
        self.detail = detail
    }
}
