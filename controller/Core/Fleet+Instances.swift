// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: natfleet contributors

package import FleetAPI
package import FleetModel
import Logging
import NATPolicy
import NetAddress
import Synchronization

extension Fleet {
    /// Sets and takes away labels of an instance; policies follow at once, those of a cordoned one when it is uncordoned.
    ///
    /// - Throws: `FleetError` notFound, badRequest; layerConflict when a policy that would come to select it conflicts
    ///   with one that does.
    package func label(
        _ id: String, _ request: LabelRequest, by caller: OperatorIdentity
    ) async throws -> LabelResponse {
        try Self.check(request)
        let (now, layers) = (self.now, self.layers)
        let response = try await store.write { store in
            guard var row = try store.instance(id) else { throw noSuchInstance(id) }
            let labels = row.labels.merging(request.set) { $1 }.filter { !request.remove.contains($0.key) }
            try checkLabels(labels)
            guard labels != row.labels else {
                return LabelResponse(instance: try self.asItStands(row, in: store), joined: [], left: [])
            }
            let old = row.labels
            row.labels = labels
            try store.setLabels(labels, instance: id)
            let before =
                row.cordoned
                ? try Self.selecting(id, labels: old, layers: layers, in: store) : try store.assignments(instance: id)
            let after = try Self.selecting(id, labels: labels, layers: layers, in: store).map { row in
                // Whoever was selected before stays at the revision that it has.
                before.first { $0.policy == row.policy } ?? row
            }
            let joined = after.filter { !before.contains($0) }
            let left = before.filter { !after.contains($0) }
            if case .conflict(_, let found) = try layers.wanted(after.map(\.layer), in: store) {
                // What conflicted before is no reason to refuse this change.
                let made = found.filter { conflict in
                    joined.contains { [conflict.first.policy, conflict.second.policy].contains($0.policy) }
                }
                guard made.isEmpty else {
                    throw refusal(of: Dictionary(made.map { ($0, [id]) }) { first, _ in first })
                }
            }
            if !row.cordoned { try store.assign(after, instance: id) }
            try store.append(
                NewEvent(
                    at: now, actor: caller.actor, kind: "instance.labelled", subject: "instance/\(id)",
                    detail: Self.detail(request, joined: joined, left: left, waits: row.cordoned)))
            return LabelResponse(
                instance: try self.asItStands(row, in: store), joined: joined.map(\.layer), left: left.map(\.layer))
        }
        if !response.instance.cordoned, !response.joined.isEmpty || !response.left.isEmpty { hub.wake([id]) }
        logger.info("instance labelled", metadata: ["instance": "\(id)", "by": "\(caller.name)"])
        return response
    }

    /// Cordons an instance, or ends that. What a cordoned one should run stays as it is, whatever happens to policies and
    /// its labels; once uncordoned it should run what selects it then.
    ///
    /// - Throws: `FleetError` notFound.
    package func setCordoned(_ cordoned: Bool, _ id: String, by caller: OperatorIdentity) async throws -> Instance {
        let (now, layers) = (self.now, self.layers)
        let (instance, hasMoved) = try await store.write { store in
            guard var row = try store.instance(id) else { throw noSuchInstance(id) }
            guard row.cordoned != cordoned else { return (try self.asItStands(row, in: store), false) }
            row.cordoned = cordoned
            try store.setCordoned(cordoned, instance: id)
            let before = try store.assignments(instance: id)
            let after =
                cordoned ? before : try Self.selecting(id, labels: row.labels, layers: layers, in: store)
            try store.assign(after, instance: id)
            try store.append(
                NewEvent(
                    at: now, actor: caller.actor, kind: cordoned ? "instance.cordoned" : "instance.uncordoned",
                    subject: "instance/\(id)",
                    detail: Self.detail([
                        ("moves to", after.filter { !before.contains($0) }.map { "\($0.policy)@\($0.revision)" }),
                        ("leaves", before.map(\.policy).filter { name in !after.contains { $0.policy == name } }),
                    ])))
            return (try self.asItStands(row, in: store), before != after)
        }
        if hasMoved { hub.wake([id]) }
        logger.info(
            "instance \(cordoned ? "cordoned" : "uncordoned")", metadata: ["instance": "\(id)", "by": "\(caller.name)"])
        return instance
    }

    /// Removes an instance and its certificates. A machine that still runs keeps its rules, is refused from now on, and
    /// may come back with a join token.
    ///
    /// - Returns: the instance as it last was.
    /// - Throws: `FleetError` notFound.
    package func forget(_ id: String, by caller: OperatorIdentity) async throws -> Instance {
        let now = self.now
        let instance = try await store.write { store in
            guard let row = try store.instance(id) else { throw noSuchInstance(id) }
            let instance = try self.asItStands(row, in: store)
            try store.forget(instance: id)
            try store.append(
                NewEvent(
                    at: now, actor: caller.actor, kind: "instance.forgotten", subject: "instance/\(id)",
                    detail: "was \(instance.health.rawValue)"))
            return instance
        }
        seen.withLock { $0[id] = nil }
        toldHold.withLock { $0[id] = nil }
        hub.forget(id)
        logger.info("instance forgotten", metadata: ["instance": "\(id)", "by": "\(caller.name)"])
        return instance
    }

    private static func check(_ request: LabelRequest) throws {
        let keys = Array(request.set.keys) + request.remove
        guard !keys.isEmpty else {
            throw FleetError(.badRequest, "no label is named", remedy: "set KEY=VALUE, or remove KEY")
        }
        guard Set(keys).count == keys.count else {
            throw FleetError(.badRequest, "a label is named twice", remedy: "set each label or remove it, once")
        }
        try checkLabels(request.set)
        try checkLabels(Dictionary(uniqueKeysWithValues: request.remove.map { ($0, "any") }))
        if let key = keys.first(where: { $0.hasPrefix("agent/") || $0.hasPrefix("aws/") }) {
            throw FleetError(
                .badRequest, "an operator cannot change label \(quoted(key))",
                remedy: "leave 'agent/' to what machines claim and 'aws/' to what AWS vouches for")
        }
    }

    private static func detail(
        _ request: LabelRequest, joined: [AssignmentRow], left: [AssignmentRow], waits: Bool
    ) -> String {
        let when = waits ? "when uncordoned, " : ""
        return detail([
            ("set", request.set.sorted { $0.key < $1.key }.map { "\($0.key)=\($0.value)" }),
            ("removed", request.remove.sorted()),
            ("\(when)joins", joined.map(\.policy)), ("\(when)leaves", left.map(\.policy)),
        ])
    }

    private static func detail(_ words: [(String, [String])]) -> String {
        words.filter { !$0.1.isEmpty }.map { "\($0.0) \($0.1.joined(separator: ", "))" }.joined(separator: "; ")
    }
}
