// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: natfleet contributors

/// The union of all policies that select an instance, each at the revision assigned to that instance: what the
/// instance must run, and the document that the check-in carries.
package struct EffectivePolicy: Codable, Hashable, Sendable {
    /// One policy at one revision.
    package struct Layer: Codable, Hashable, Sendable {
        package var policy: String
        package var revision: Int

        package init(policy: String, revision: Int) {
            self.policy = policy
            self.revision = revision
        }
    }

    /// An entry and the policy that it came from.
    package struct Layered<Entry: Codable & Hashable & Sendable>: Codable, Hashable, Sendable {
        package var policy: String
        package var entry: Entry

        package init(policy: String, entry: Entry) {
            self.policy = policy
            self.entry = entry
        }
    }

    /// In (priority, name) order.
    package var layers: [Layer]
    package var forwarding: Forwarding
    package var masquerade: [Layered<Masquerade>]
    package var dnat: [Layered<PortForward>]
    package var `guard`: Bool
    /// How long a trial on the instance may wait for its confirmation, in seconds; nil is `defaultConfirmTimeout`.
    package var confirmTimeout: Int?

    package static let defaultConfirmTimeout = 120
    /// nil: no layer says, which means auto.
    package var conntrack: Conntrack?
    /// What clients must be able to reach, of all layers; nil for nothing but what is always checked.
    package var probes: [ProbeTarget]?

    /// Nothing: no layer selects the instance, so it runs no rule of ours.
    package static let none = EffectivePolicy(layers: [])

    package init(
        layers: [Layer],
        forwarding: Forwarding = Forwarding(),
        masquerade: [Layered<Masquerade>] = [],
        dnat: [Layered<PortForward>] = [],
        guard: Bool = true,
        conntrack: Conntrack? = nil,
        probes: [ProbeTarget]? = nil
    ) {
        self.layers = layers
        self.forwarding = forwarding
        self.masquerade = masquerade
        self.dnat = dnat
        self.guard = `guard`
        self.conntrack = conntrack
        self.probes = probes
    }
}
