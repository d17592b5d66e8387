// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: natfleet contributors

import ControllerCLI
import FleetAPI
import FleetModel
import Foundation
import NATPolicy
import PolicyYAML
import Synchronization

/// A controller in memory that behaves like the real one where the command line can tell: revisions count up, what is
/// unchanged stays, what is not there is not found.
final class FakeFleet: FleetClient {
    struct State {
        var revisions: [String: [RevisionView]] = [:]
        var current: [String: Int] = [:]
        var instances: [Instance] = []
        var tokens: [TokenView] = []
        var events: [Event] = []
        /// Thrown by every call when set.
        var failure: (any Error)?
    }

    private let state: Mutex<State>

    init(_ state: State = State()) { self.state = Mutex(state) }

    init(failing error: any Error) { state = Mutex(State(failure: error)) }

    /// What is stored now.
    var snapshot: State { state.withLock { $0 } }

    /// What somebody else does meanwhile.
    func change(_ body: (inout State) -> Void) { state.withLock { body(&$0) } }

    private func call<Answer: Sendable>(_ body: (inout State) throws -> Answer) throws -> Answer {
        try state.withLock { state in
            if let failure = state.failure { throw failure }
            return try body(&state)
        }
    }

    func apply(_ request: ApplyRequest) async throws -> ApplyResponse {
        let readings = readPolicies(request.files.map { PolicyText(name: $0.name, text: $0.text) })
        guard readings.diagnostics.isEmpty else {
            throw Failure(
                FleetError(.invalidPolicy, "the policies are not valid", remedy: "mend them"),
                diagnostics: readings.diagnostics)
        }
        return try call { state in
            if let expected = request.expectRevision, let name = readings.documents.first?.name {
                let revision = state.current[name] ?? 0
                guard revision == expected else {
                    throw FleetError(
                        .conflict, "policy '\(name)' is at revision \(revision), not \(expected)", remedy: "look again")
                }
            }
            return ApplyResponse(policies: readings.documents.map { state.store($0, message: request.message) })
        }
    }

    func delete(_ request: DeleteRequest) async throws -> ApplyResponse {
        try call { state in
            for name in request.names { _ = try state.view(name) }
            return ApplyResponse(
                policies: request.names.map { name in
                    PolicyChange(
                        name: name, action: .deleted, revision: state.current.removeValue(forKey: name) ?? 0,
                        instances: ["i-0a"])
                })
        }
    }

    func policies() async throws -> [PolicyView] {
        try call { state in try state.current.keys.map { try state.view($0) } }
    }

    func policy(_ name: String) async throws -> PolicyView { try call { try $0.view(name) } }

    func revisions(of policy: String) async throws -> [RevisionView] {
        try call { state in
            guard let revisions = state.revisions[policy] else { throw noPolicy(policy) }
            return revisions
        }
    }

    func undo(_ policy: String, _ request: UndoRequest) async throws -> PolicyChange {
        try call { state in
            let target = try request.toRevision ?? state.view(policy).revision - 1
            guard let old = state.revisions[policy]?.first(where: { $0.revision == target }) else {
                throw FleetError(.notFound, "policy \(policy) has no revision \(target)", remedy: "choose another")
            }
            return state.store(old.document, message: "undo to revision \(target)")
        }
    }

    func instances() async throws -> [Instance] { try call { $0.instances } }

    func instance(_ id: String) async throws -> Instance {
        try call { state in
            guard let instance = state.instances.first(where: { $0.id == id }) else {
                throw FleetError(.notFound, "there is no instance '\(id)'", remedy: "choose another")
            }
            return instance
        }
    }

    func tokens() async throws -> [TokenView] { try call { $0.tokens } }

    func createToken(_ request: TokenRequest) async throws -> TokenView {
        try call { state in
            let token = TokenView(
                id: "t\(state.tokens.count + 1)", secret: "nfj_secret", instanceID: request.instanceID,
                labels: request.labels, usesLeft: request.uses, createdAt: now,
                expiresAt: now.addingTimeInterval(Double(request.ttl)), revoked: false)
            var stored = token
            stored.secret = nil
            state.tokens.append(stored)
            return token
        }
    }

    func revokeToken(_ id: String) async throws {
        try call { state in
            guard let index = state.tokens.firstIndex(where: { $0.id == id }) else {
                throw FleetError(.notFound, "there is no join token '\(id)'", remedy: "choose another")
            }
            state.tokens[index].revoked = true
        }
    }

    func events(_ filter: EventFilter) async throws -> [Event] {
        try call { state in
            let events = state.events.filter { event in
                event.at >= filter.since ?? .distantPast
                    && (filter.actor.map { [event.actor, String(event.actor.trimmingPrefix(/[a-z]*:/))].contains($0) }
                        ?? true)
            }
            return Array(events.prefix(filter.limit))
        }
    }

    func diff(_ request: DiffRequest) async throws -> DiffResponse {
        let readings = readPolicies(request.files.map { PolicyText(name: $0.name, text: $0.text) })
        return try call { state in try state.diff(readings.documents) }
    }

    func label(_ id: String, _ request: LabelRequest) async throws -> LabelResponse {
        let instance = try change(id) { instance in
            instance.labels.merge(request.set) { $1 }
            for key in request.remove { instance.labels[key] = nil }
        }
        let joins = request.set["vpc"] == "lab" ? [EffectivePolicy.Layer(policy: "lab", revision: 4)] : []
        let leaves = request.remove.contains("vpc") ? instance.desiredLayers : []
        return LabelResponse(instance: instance, joined: joins, left: leaves)
    }

    func setCordoned(_ cordoned: Bool, _ id: String) async throws -> Instance {
        try change(id) { $0.cordoned = cordoned }
    }

    func retry(_ id: String) async throws -> Instance {
        let instance = try change(id) { _ in }
        guard instance.failedTry != nil else {
            throw FleetError(
                .conflict, "instance '\(id)' has nothing to try again: it runs what it should", remedy: "describe it")
        }
        return instance
    }

    func forget(_ id: String) async throws -> Instance {
        let instance = try change(id) { _ in }
        return try call { state in
            state.instances.removeAll { $0.id == id }
            return instance
        }
    }

    private func change(_ id: String, _ body: (inout Instance) -> Void) throws -> Instance {
        try call { state in
            guard let index = state.instances.firstIndex(where: { $0.id == id }) else {
                throw FleetError(.notFound, "there is no instance '\(id)'", remedy: "choose another")
            }
            body(&state.instances[index])
            return state.instances[index]
        }
    }
}

extension FakeFleet.State {
    fileprivate mutating func store(_ document: PolicyDocument, message: String?) -> PolicyChange {
        let name = document.name
        let selected = instances.filter { document.spec.selector.selects(instance: $0.id, labels: $0.labels) }.map(\.id)
        let before = revisions[name]?.first
        if let before, before.hash == document.hash, current[name] != nil {
            return PolicyChange(name: name, action: .unchanged, revision: before.revision, instances: selected)
        }
        let revision = (before?.revision ?? 0) + 1
        revisions[name, default: []].insert(
            RevisionView(
                policy: name, revision: revision, hash: document.hash, createdAt: now, actor: "operator:admin",
                message: message, document: document), at: 0)
        let action: PolicyChange.Action = current.updateValue(revision, forKey: name) == nil ? .created : .updated
        return PolicyChange(name: name, action: action, revision: revision, instances: selected)
    }

    /// Instances that a policy selects would run it alone; facts are their last ones.
    fileprivate func diff(_ documents: [PolicyDocument]) throws -> DiffResponse {
        var effective: [String: EffectivePolicy] = [:]
        func hash(_ document: PolicyDocument?, _ revision: Int?) throws -> String? {
            guard let document else {
                effective[EffectivePolicy.none.hash] = EffectivePolicy.none
                return EffectivePolicy.none.hash
            }
            let layer = PolicyLayer(policy: document.name, revision: revision ?? 1, spec: document.spec)
            let merged = try mergeLayers([layer]).get()
            effective[merged.hash] = merged
            return merged.hash
        }
        var instances: [InstanceDifference] = []
        let policies = try documents.map { document in
            let current = current[document.name].flatMap { number in
                revisions[document.name]?.first { $0.revision == number }
            }
            let isSame = current?.hash == document.hash
            let next = isSame ? current?.revision ?? 0 : (revisions[document.name]?.first?.revision ?? 0) + 1
            if !isSame {
                for instance in self.instances
                where document.spec.selector.selects(instance: instance.id, labels: instance.labels) {
                    instances.append(
                        InstanceDifference(
                            instance: instance.id, oldHash: try hash(current?.document, current?.revision),
                            newHash: try hash(document, next),
                            facts: instance.status?.facts))
                }
            }
            return PolicyDifference(
                name: document.name, action: isSame ? .unchanged : current == nil ? .created : .updated,
                oldRevision: current?.revision, newRevision: next, old: current?.document, new: document)
        }
        return DiffResponse(policies: policies, instances: instances, effective: effective)
    }

    fileprivate func view(_ name: String) throws -> PolicyView {
        guard let number = current[name], let revision = revisions[name]?.first(where: { $0.revision == number }) else {
            throw noPolicy(name)
        }
        let members = instances.compactMap { instance in
            instance.desiredLayers.first { $0.policy == name }.map { layer in
                PolicyMember(
                    instance: instance.id, assigned: layer.revision,
                    running: instance.status?.layers.first { $0.policy == name }?.revision, health: instance.health)
            }
        }
        return PolicyView(
            name: name, revision: number, hash: revision.hash, createdAt: revision.createdAt,
            document: revision.document, instances: members)
    }
}

private func noPolicy(_ name: String) -> FleetError {
    FleetError(.notFound, "there is no policy '\(name)'", remedy: "choose another")
}
