// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: natfleet contributors

package import FleetAPI
import FleetModel
import Logging
import NATPolicy
import NetAddress
import Synchronization

extension Fleet {
    /// Stores all documents of all files, or none; members move to the new revisions at once.
    ///
    /// A document equal to its policy's current revision is `unchanged`. A policy that was deleted goes on with the next
    /// number.
    ///
    /// - Throws: `PolicyFaults`; `FleetError` badRequest, layerConflict, conflict when the policy is not at the revision
    ///   that the request expects.
    package func apply(_ request: ApplyRequest, by caller: OperatorIdentity) async throws -> ApplyResponse {
        let documents = try read(request.files)
        let (message, expected) = (request.message, request.expectRevision)
        guard message?.utf8.count ?? 0 <= 1000 else {
            throw FleetError(.badRequest, "a message of more than 1000 bytes", remedy: "say it in fewer words")
        }
        guard expected == nil || documents.count == 1 else {
            throw FleetError(
                .badRequest, "one expected revision for \(documents.count) policies",
                remedy: "apply a file with a single policy, or expect no revision")
        }
        return ApplyResponse(
            policies: try await move("policy.applied", by: caller) { change in
                for document in documents { try change.place(document, message: message, expecting: expected) }
            })
    }

    /// Takes policies away from their instances, all or none. Their revisions stay.
    ///
    /// - Throws: `FleetError` notFound, badRequest.
    package func delete(_ names: [String], by caller: OperatorIdentity) async throws -> ApplyResponse {
        guard !names.isEmpty else {
            throw FleetError(.badRequest, "no policy is named", remedy: "name the policies to delete")
        }
        guard Set(names).count == names.count else {
            throw FleetError(.badRequest, "a policy is named twice", remedy: "name each policy once")
        }
        return ApplyResponse(
            policies: try await move("policy.deleted", by: caller) { change in
                for name in names { try change.remove(name) }
            })
    }

    /// A new revision with the content of an old one, by default the one before the current one (the last one of a
    /// deleted policy).
    ///
    /// - Throws: `FleetError` notFound; conflict when it would change nothing; layerConflict.
    package func undo(_ name: String, to revision: Int?, by caller: OperatorIdentity) async throws -> PolicyChange {
        let layers = self.layers
        let changes = try await move("policy.undone", by: caller) { change in
            guard let policy = try change.store.policy(name) else { throw noSuchPolicy(name) }
            let target = revision ?? (policy.currentRevision.map { $0 - 1 } ?? policy.lastRevision)
            guard target >= 1 else {
                throw FleetError(
                    .conflict, "policy \(name) has no revision before \(policy.lastRevision)",
                    remedy: "delete the policy to take its rules away")
            }
            guard try change.store.revision(target, of: name) != nil else {
                throw FleetError(
                    .notFound, "policy \(name) has no revision \(target)",
                    remedy: "choose one of `natfleet rollout history \(name)`")
            }
            let document = try layers.document(.init(policy: name, revision: target), in: change.store)
            guard try change.place(document, message: "undo to revision \(target)") != .unchanged else {
                throw FleetError(
                    .conflict, "policy \(name) has the content of revision \(target) already: nothing to undo",
                    remedy: "choose another one of `natfleet rollout history \(name)`")
            }
        }
        guard let change = changes.first else { throw FleetError.fault("undo changed nothing") }
        return change
    }

    /// The documents of files.
    ///
    /// - Throws: `PolicyFaults`; `FleetError` badRequest when there is none.
    func read(_ files: [PolicyFile]) throws -> [PolicyDocument] {
        let (documents, diagnostics) = reader(files)
        guard diagnostics.isEmpty else { throw PolicyFaults(diagnostics) }
        guard !documents.isEmpty else {
            throw FleetError(
                .badRequest, "no policy document in \(files.map(\.name).joined(separator: ", "))",
                remedy: "name a file with at least one document of kind NATPolicy")
        }
        return documents
    }

    /// Runs one change of policies as one transaction and wakes whom it concerns.
    private func move(
        _ kind: String, by caller: OperatorIdentity,
        _ body: @escaping @Sendable (inout PolicyMove) throws -> Void
    ) async throws -> [PolicyChange] {
        let (now, layers) = (self.now, self.layers)
        let changes = try await store.write { store in
            var move = PolicyMove(store: store, layers: layers, actor: caller.actor, now: now)
            try body(&move)
            return try move.finish(event: kind)
        }
        tally.withLock { $0.policyChanges += changes.count { $0.action != .unchanged } }
        hub.wake(Set(changes.filter { $0.action != .unchanged }.flatMap(\.instances)))
        for change in changes where change.action != .unchanged {
            logger.info(
                "policy \(change.action.rawValue)",
                metadata: [
                    "policy": "\(change.name)", "revision": "\(change.revision)",
                    "instances": "\(change.instances.count)", "by": "\(caller.name)",
                ])
        }
        return changes
    }
}

func noSuchPolicy(_ name: String) -> FleetError {
    FleetError(.notFound, "there is no policy \(quoted(name))", remedy: "choose one of `natfleet get policies`")
}
