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
            ApplyResponse(policies: readings.documents.map { state.store($0, message: request.message) })
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

    func events(limit: Int) async throws -> [Event] { try call { Array($0.events.prefix(limit)) } }
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
