// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: natfleet contributors

import FleetAPI
import FleetModel
import NATPolicy
import NetAddress

#if canImport(FoundationEssentials)
    import FoundationEssentials
#else
    import Foundation
#endif

/// One change of policies inside one transaction: place and remove policies, then `finish`, which moves their members
/// and refuses what would conflict on an instance.
///
/// A cordoned instance keeps what it is assigned. It is checked for conflicts all the same, by what it will get when it is
/// uncordoned, so that uncordoning never leads into one that an apply made.
struct PolicyMove {
    let store: any StoreWriting
    let layers: LayerCache
    let actor: String
    let now: Timestamp
    private(set) var changes: [PolicyChange] = []
    /// What the operator said, by policy.
    private var notes: [String: String] = [:]
    /// By policy: the layer and whom it selects, or nil when the policy goes.
    private var targets: [String: (layer: EffectivePolicy.Layer, selector: Selector)?] = [:]

    /// - Parameter layers: what is known of stored revisions; those that this makes stay out of it.
    init(store: any StoreWriting, layers: LayerCache, actor: String, now: Timestamp) {
        self.store = store
        self.layers = LayerCache(over: layers)
        self.actor = actor
        self.now = now
    }

    /// Makes the document its policy's current revision.
    ///
    /// - Parameter expected: the revision that must be the current one, 0 for none; nil for any.
    /// - Throws: `FleetError` conflict when it is another one.
    @discardableResult
    mutating func place(
        _ document: PolicyDocument, message: String?, expecting expected: Int? = nil
    ) throws -> PolicyChange.Action {
        let name = document.name
        let hash = document.hash
        let policy = try store.policy(name)
        if let expected, expected != policy?.currentRevision ?? 0 {
            throw Self.overtaken(name, policy?.currentRevision, expected: expected)
        }
        if let current = policy?.currentRevision, try store.revision(current, of: name)?.hash == hash {
            let behind = try self.behind(name, at: current, selector: document.spec.selector)
            let members = try store.assignments(policy: name).map(\.instance).filter { !behind.contains($0) }
            changes.append(
                PolicyChange(
                    name: name, action: .unchanged, revision: current, instances: members, cordoned: behind))
            return .unchanged
        }
        let revision = (policy?.lastRevision ?? 0) + 1
        try store.save(PolicyRow(name: name, currentRevision: nil, lastRevision: revision))
        try store.insert(
            RevisionRow(
                policy: name, revision: revision, hash: hash,
                document: String(decoding: document.canonicalJSON(), as: UTF8.self), createdAt: now, actor: actor,
                message: message))
        try store.save(PolicyRow(name: name, currentRevision: revision, lastRevision: revision))
        notes[name] = message.map { " (\(shown($0, limit: 200)))" }
        targets[name] = .some((EffectivePolicy.Layer(policy: name, revision: revision), document.spec.selector))
        let action: PolicyChange.Action = policy?.currentRevision == nil ? .created : .updated
        changes.append(PolicyChange(name: name, action: action, revision: revision, instances: []))
        return action
    }

    mutating func remove(_ name: String) throws {
        guard var policy = try store.policy(name), policy.currentRevision != nil else { throw noSuchPolicy(name) }
        policy.currentRevision = nil
        try store.save(policy)
        targets.updateValue(nil, forKey: name)
        changes.append(PolicyChange(name: name, action: .deleted, revision: policy.lastRevision, instances: []))
    }

    /// Moves members at once and writes the events.
    ///
    /// - Throws: `FleetError` layerConflict, naming the policies and the instances.
    mutating func finish(event kind: String) throws -> [PolicyChange] {
        if !targets.isEmpty { try moveMembers() }
        for change in changes where change.action != .unchanged {
            try store.append(
                NewEvent(
                    at: now, actor: actor, kind: kind, subject: "policy/\(change.name)",
                    detail: "\(change.action.rawValue) revision \(change.revision)\(notes[change.name] ?? ""), "
                        + (change.instances.count == 1 ? "1 instance" : "\(change.instances.count) instances")
                        + (change.cordoned.isEmpty ? "" : ", \(change.cordoned.count) cordoned passed over")
                ))
        }
        return changes
    }

    /// Cordoned instances that would have another revision of a policy, or none of it, if they were not.
    private func behind(_ name: String, at revision: Int, selector: Selector) throws -> [String] {
        let assigned = Dictionary(
            uniqueKeysWithValues: try store.assignments(policy: name).map { ($0.instance, $0.revision) })
        return try store.instances().filter { instance in
            let wanted = selector.selects(instance: instance.id, labels: instance.labels) ? revision : nil
            return instance.cordoned && assigned[instance.id] != wanted
        }.map(\.id)
    }

    private mutating func moveMembers() throws {
        let assigned = Dictionary(grouping: try store.assignments(), by: \.instance)
        var concerned: [String: [String]] = [:]
        var passed: [String: [String]] = [:]
        var conflicts: [LayerConflict: [String]] = [:]
        for instance in try store.instances() where instance.state != .retired {
            let before = Set(assigned[instance.id] ?? [])
            let after = try self.after(before, instance)
            for policy in Set(before.symmetricDifference(after).map(\.policy)) where targets[policy] != nil {
                if instance.cordoned {
                    passed[policy, default: []].append(instance.id)
                } else {
                    concerned[policy, default: []].append(instance.id)
                }
            }
            guard before != after else { continue }
            if case .conflict(_, let found) = try layers.wanted(after.map(\.layer), in: store) {
                // What conflicted before, among others' policies, is no reason to refuse this change.
                for conflict in found
                where targets[conflict.first.policy] != nil || targets[conflict.second.policy] != nil {
                    conflicts[conflict, default: []].append(instance.id)
                }
            }
            if !instance.cordoned { try store.assign(Array(after), instance: instance.id) }
        }
        guard conflicts.isEmpty else { throw refusal(of: conflicts) }
        for index in changes.indices where changes[index].action != .unchanged {
            changes[index].instances = concerned[changes[index].name] ?? []
            changes[index].cordoned = passed[changes[index].name] ?? []
        }
    }

    /// What an instance is to run; a cordoned one, which may have been passed over before, when it is uncordoned.
    private func after(_ before: Set<AssignmentRow>, _ instance: InstanceRow) throws -> Set<AssignmentRow> {
        guard !instance.cordoned else {
            return Set(try Fleet.selecting(instance.id, labels: instance.labels, layers: layers, in: store))
        }
        var after = before.filter { targets[$0.policy] == nil }
        for case (let name, let target?) in targets
        where target.selector.selects(instance: instance.id, labels: instance.labels) {
            after.insert(AssignmentRow(instance: instance.id, policy: name, revision: target.layer.revision))
        }
        return after
    }

    private static func overtaken(_ name: String, _ current: Int?, expected: Int) -> FleetError {
        let now = current.map { "is at revision \($0)" } ?? "is not there"
        return FleetError(
            .conflict, "policy \(name) \(now), not at the expected \(expected); nothing was changed",
            remedy: current == nil
                ? "expect revision 0 to create it"
                : "look at `natfleet rollout history \(name)`, then apply on top of what is there")
    }
}

/// A change that would make layers conflict, with the instances on which they would.
func refusal(of conflicts: [LayerConflict: [String]]) -> FleetError {
    let sentences = conflicts.map { conflict, instances in
        "\(conflict.message), both on \(enumeration(instances.sorted()))"
    }
    return FleetError(
        .layerConflict, sentences.sorted().joined(separator: "; "),
        remedy: "change one of the policies named, or whom it selects; nothing was changed")
}

/// Five names at most, then how many more.
private func enumeration(_ names: [String]) -> String {
    names.count <= 5
        ? names.joined(separator: ", ") : "\(names.prefix(5).joined(separator: ", ")) and \(names.count - 5) more"
}
