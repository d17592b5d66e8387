// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: natfleet contributors

package import FleetAPI
package import FleetModel
import NATPolicy
import NetAddress
import Synchronization

extension Fleet {
    package func policies() async throws -> [PolicyView] {
        try await store.read { store in
            let view = try self.view(store)
            return try store.policies().compactMap { try self.policyView($0, view, in: store) }
        }
    }

    /// - Throws: `FleetError` notFound; a deleted policy is not found either.
    package func policy(_ name: String) async throws -> PolicyView {
        try await store.read { store in
            guard let row = try store.policy(name),
                let policy = try self.policyView(row, try self.view(store), in: store)
            else { throw noSuchPolicy(name) }
            return policy
        }
    }

    /// Newest first; a deleted policy still has its history.
    ///
    /// - Throws: `FleetError` notFound.
    package func revisions(of name: String) async throws -> [RevisionView] {
        try await store.read { store in
            guard try store.policy(name) != nil else { throw noSuchPolicy(name) }
            return try store.revisions(of: name).map { row in
                RevisionView(
                    policy: row.policy, revision: row.revision, hash: row.hash, createdAt: row.createdAt.date,
                    actor: row.actor, message: row.message, document: try row.decoded())
            }
        }
    }

    package func instances() async throws -> [Instance] {
        try await store.read { store in try self.view(store).instances }
    }

    /// - Throws: `FleetError` notFound.
    package func instance(_ id: String) async throws -> Instance {
        try await store.read { store in
            guard let row = try store.instance(id) else { throw noSuchInstance(id) }
            return try self.asItStands(row, in: store)
        }
    }

    /// Newest first.
    ///
    /// - Throws: `FleetError` badRequest.
    package func events(_ filter: EventFilter) async throws -> [Event] {
        guard (1...1000).contains(filter.limit) else {
            throw FleetError(.badRequest, "a limit of \(filter.limit)", remedy: "ask for 1 to 1000 events")
        }
        let since = filter.since.map(Timestamp.init) ?? Timestamp(milliseconds: 0)
        let actors: Set<String>? = filter.actor.map { name in
            name.contains(":") ? [name] : [name, "operator:\(name)", "instance:\(name)"]
        }
        return try await store.read { try $0.events(limit: filter.limit, since: since, actors: actors) }.map { row in
            Event(
                id: row.id, at: row.event.at.date, actor: row.event.actor, kind: row.event.kind,
                subject: row.event.subject, detail: row.event.detail)
        }
    }

    /// All instances as they stand now, and what they are assigned.
    private struct View {
        var instances: [Instance]
        var assignments: [String: [AssignmentRow]]
    }

    /// One instance as it stands in a transaction.
    func asItStands(_ row: InstanceRow, in store: any StoreReading) throws -> Instance {
        let wanted = try layers.wanted(try store.assignments(instance: row.id).map(\.layer), in: store)
        let end = try store.certificates(instance: row.id).filter { [.active, .pending].contains($0.state) }
            .map(\.expiresAt).max()
        return Instance(
            row, wanted: wanted, status: try store.status(instance: row.id),
            heard: seen.withLock { $0[row.id] }, certificateEnd: end, now: now)
    }

    private func view(_ store: any StoreReading) throws -> View {
        let now = self.now
        let heard = seen.withLock { $0 }
        let assignments = try store.assignments()
        let byInstance = Dictionary(grouping: assignments, by: \.instance)
        let statuses = Dictionary(uniqueKeysWithValues: try store.statuses().map { ($0.instance, $0) })
        let ends = try store.certificateEnds()
        let instances = try store.instances().map { row in
            let wanted = try layers.wanted((byInstance[row.id] ?? []).map(\.layer), in: store)
            return Instance(
                row, wanted: wanted, status: statuses[row.id], heard: heard[row.id], certificateEnd: ends[row.id],
                now: now)
        }
        return View(instances: instances, assignments: Dictionary(grouping: assignments, by: \.policy))
    }

    private func policyView(_ row: PolicyRow, _ view: View, in store: any StoreReading) throws -> PolicyView? {
        guard let number = row.currentRevision, let revision = try store.revision(number, of: row.name) else {
            return nil
        }
        let instances = Dictionary(uniqueKeysWithValues: view.instances.map { ($0.id, $0) })
        let members = (view.assignments[row.name] ?? []).compactMap { assignment in
            instances[assignment.instance].map { instance in
                PolicyMember(
                    instance: instance.id, assigned: assignment.revision,
                    running: instance.status?.layers.first { $0.policy == row.name }?.revision,
                    health: instance.health)
            }
        }
        return PolicyView(
            name: row.name, revision: number, hash: revision.hash, createdAt: revision.createdAt.date,
            document: try layers.document(.init(policy: row.name, revision: number), in: store), instances: members)
    }
}

func noSuchInstance(_ id: String) -> FleetError {
    FleetError(
        .notFound, "there is no instance \(quoted(id))", remedy: "choose one of `natfleet get instances`")
}
