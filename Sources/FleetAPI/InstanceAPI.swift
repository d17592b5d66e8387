// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: natfleet contributors

package import FleetModel
package import NATPolicy

/// `POST /v1/instances/ID/labels`: labels that an operator sets and takes away, all or none. Keys that start with
/// `agent/` or `aws/` belong to the machine and to AWS.
package struct LabelRequest: Codable, Hashable, Sendable {
    /// Replaces values that are there.
    package var set: [String: String]
    /// Keys; ones that are not there are passed over.
    package var remove: [String]

    package init(set: [String: String] = [:], remove: [String] = []) {
        self.set = set
        self.remove = remove
    }
}

/// What a change of labels did; a cordoned instance follows when it is uncordoned. `POST …/cordon`, `…/uncordon`, `…/retry` and `DELETE /v1/instances/ID` (forget) answer
/// the `Instance` itself, as it is now or, for the last, as it last was.
package struct LabelResponse: Codable, Hashable, Sendable {
    package var instance: Instance
    /// Policies that select it from now on.
    package var joined: [EffectivePolicy.Layer]
    /// Policies that select it no longer.
    package var left: [EffectivePolicy.Layer]

    package init(instance: Instance, joined: [EffectivePolicy.Layer], left: [EffectivePolicy.Layer]) {
        self.instance = instance
        self.joined = joined
        self.left = left
    }
}
