// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: natfleet contributors

package import NATPolicy

/// `POST /v1/diff`: what an apply of the same files would do. Changes nothing, and refuses what the apply would refuse.
package struct DiffRequest: Codable, Hashable, Sendable {
    package var files: [PolicyFile]

    package init(files: [PolicyFile]) { self.files = files }
}

package struct DiffResponse: Codable, Hashable, Sendable {
    /// One for each document, in the order of the files; unchanged ones too.
    package var policies: [PolicyDifference]
    /// Instances whose effective policy would be another one, by id.
    package var instances: [InstanceDifference]
    /// The effective policies that `instances` name, by hash: most instances share theirs.
    package var effective: [String: EffectivePolicy]

    package init(
        policies: [PolicyDifference], instances: [InstanceDifference], effective: [String: EffectivePolicy]
    ) {
        self.policies = policies
        self.instances = instances
        self.effective = effective
    }
}

package struct PolicyDifference: Codable, Hashable, Sendable {
    package var name: String
    /// What the apply would do; never `deleted`.
    package var action: PolicyChange.Action
    /// The current revision; nil for a policy that is not there.
    package var oldRevision: Int?
    /// The revision that the apply would leave as the current one.
    package var newRevision: Int
    package var old: PolicyDocument?
    package var new: PolicyDocument
    /// As of `PolicyChange`.
    package var cordoned: [String]

    package init(
        name: String, action: PolicyChange.Action, oldRevision: Int?, newRevision: Int, old: PolicyDocument?,
        new: PolicyDocument, cordoned: [String] = []
    ) {
        self.name = name
        self.action = action
        self.oldRevision = oldRevision
        self.newRevision = newRevision
        self.old = old
        self.new = new
        self.cordoned = cordoned
    }
}

package struct InstanceDifference: Codable, Hashable, Sendable {
    package var instance: String
    /// Key of `DiffResponse.effective`; nil when its layers conflict now.
    package var oldHash: String?
    /// Key of `DiffResponse.effective`; nil when its layers would go on to conflict, not by this change.
    package var newHash: String?
    /// What the instance last said of its host, to compile both for it; nil when it never checked in.
    package var facts: HostFacts?

    package init(instance: String, oldHash: String?, newHash: String?, facts: HostFacts?) {
        self.instance = instance
        self.oldHash = oldHash
        self.newHash = newHash
        self.facts = facts
    }
}
