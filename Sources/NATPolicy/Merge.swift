// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: natfleet contributors

/// A policy at the revision that an instance is to run.
package struct PolicyLayer: Codable, Hashable, Sendable {
    package var policy: String
    package var revision: Int
    package var spec: PolicySpec

    package init(policy: String, revision: Int, spec: PolicySpec) {
        self.policy = policy
        self.revision = revision
        self.spec = spec
    }
}

/// Two policies that can't both run on one instance. Which instances they meet on is for the caller to say.
package struct LayerConflict: Codable, Hashable, Sendable {
    /// One side of a conflict: a policy, and the entry where one is concerned.
    package struct Side: Codable, Hashable, Sendable {
        package var policy: String
        package var entry: String?

        package init(policy: String, entry: String? = nil) {
            self.policy = policy
            self.entry = entry
        }
    }

    package var first: Side
    package var second: Side
    /// What both want, lower case, without a final period; it names both policies.
    package var message: String
    /// What to do about it, an imperative sentence without a final period.
    package var remedy: String
}

/// Why layers don't merge: at least one conflict.
package struct LayerConflicts: Error, Hashable, Sendable, CustomStringConvertible {
    package var conflicts: [LayerConflict]

    package var description: String { conflicts.map(\.message).joined(separator: "; ") }
}

/// The union of the policies that select an instance: lists join in (priority, name) order, forwarding is the OR, the
/// guard is on unless a layer turned it off. Layers that claim one port, or disagree on the guard or on the size of
/// connection tracking, conflict; all conflicts come at once.
package func mergeLayers(_ layers: [PolicyLayer]) -> Result<EffectivePolicy, LayerConflicts> {
    let layers = layers.sorted { ($0.spec.priority, $0.policy) < ($1.spec.priority, $1.policy) }
    var merged = EffectivePolicy(layers: layers.map { .init(policy: $0.policy, revision: $0.revision) })
    for layer in layers {
        merged.forwarding.ipv4 = merged.forwarding.ipv4 || layer.spec.forwarding.ipv4
        merged.forwarding.ipv6 = merged.forwarding.ipv6 || layer.spec.forwarding.ipv6
        merged.masquerade += layer.spec.masquerade.map { .init(policy: layer.policy, entry: $0) }
        merged.dnat += layer.spec.dnat.map { .init(policy: layer.policy, entry: $0) }
    }
    let probes = layers.flatMap { $0.spec.probes ?? [] }
    merged.probes = probes.isEmpty ? nil : probes
    merged.guard = layers.lazy.compactMap(\.spec.guard).first ?? true
    merged.conntrack = layers.lazy.compactMap(\.spec.conntrack).first
    // The most patient layer decides: each of them allows for that much.
    merged.confirmTimeout = layers.compactMap(\.spec.rollout?.confirmTimeout).max()
    let conflicts = guardConflicts(layers) + conntrackConflicts(layers) + claimConflicts(merged.dnat)
    return conflicts.isEmpty ? .success(merged.normalized()) : .failure(LayerConflicts(conflicts: conflicts))
}

private func guardConflicts(_ layers: [PolicyLayer]) -> [LayerConflict] {
    guard let first = layers.first(where: { $0.spec.guard != nil }) else { return [] }
    return layers.filter { $0.spec.guard != nil && $0.spec.guard != first.spec.guard }.map { second in
        let isOn = first.spec.guard == true
        return LayerConflict(
            first: .init(policy: first.policy), second: .init(policy: second.policy),
            message: "policy '\(first.policy)' turns the guard \(isOn ? "on" : "off") "
                + "and policy '\(second.policy)' turns it \(isOn ? "off" : "on")",
            remedy: "write the same guard in both, or leave it out of one")
    }
}

private func conntrackConflicts(_ layers: [PolicyLayer]) -> [LayerConflict] {
    let said = layers.compactMap { layer in layer.spec.conntrack.map { (policy: layer.policy, max: $0.max) } }
    guard let first = said.first else { return [] }
    return said.filter { $0.max != first.max }.map { second in
        LayerConflict(
            first: .init(policy: first.policy), second: .init(policy: second.policy),
            message: "policy '\(first.policy)' sets conntrack.max to \(first.max) "
                + "and policy '\(second.policy)' sets it to \(second.max)",
            remedy: "write the same conntrack.max in both, or leave it out of one")
    }
}

private func claimConflicts(_ entries: [EffectivePolicy.Layered<PortForward>]) -> [LayerConflict] {
    let claims = entries.map { DNATClaim($0.entry) }
    return DNATClaim.overlaps(among: claims).map { overlap in
        let first = entries[overlap.earlier]
        let second = entries[overlap.later]
        return LayerConflict(
            first: .init(policy: first.policy, entry: first.entry.name),
            second: .init(policy: second.policy, entry: second.entry.name),
            message: "policy '\(first.policy)' entry '\(first.entry.name)' takes \(claims[overlap.earlier]) "
                + "and policy '\(second.policy)' entry '\(second.entry.name)' takes \(claims[overlap.later])",
            remedy: "choose other ports in one of them, or select different instances")
    }
}
