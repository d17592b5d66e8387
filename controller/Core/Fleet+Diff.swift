// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: natfleet contributors

package import FleetAPI
import FleetModel
import NATPolicy

extension Fleet {
    /// What an apply of these files would do: it is made, looked at and rolled back, so that it cannot say anything else
    /// than the apply would.
    ///
    /// - Throws: what `apply` throws.
    package func diff(_ request: DiffRequest, by caller: OperatorIdentity) async throws -> DiffResponse {
        let documents = try read(request.files)
        let (now, layers) = (self.now, self.layers)
        do {
            try await store.write { store in
                let before = try Self.wanted(layers, in: store)
                let stored = try Dictionary(
                    uniqueKeysWithValues: documents.map { ($0.name, try Self.current($0.name, layers, in: store)) })
                var move = PolicyMove(store: store, layers: layers, actor: caller.actor, now: now)
                for document in documents { try move.place(document, message: nil) }
                let changes = try move.finish(event: "policy.compared")
                let policies = zip(documents, changes).map { document, change in
                    let old = stored[document.name] ?? nil
                    return PolicyDifference(
                        name: document.name, action: change.action, oldRevision: old?.layer.revision,
                        newRevision: change.revision, old: old?.document, new: document, cordoned: change.cordoned)
                }
                let after = try Self.wanted(move.layers, in: store)
                throw Compared(try Self.response(policies, before: before, after: after, in: store))
            }
        } catch let compared as Compared {
            return compared.response
        }
        throw FleetError.fault("a comparison was stored")
    }

    /// Carries the answer out of a transaction that must leave nothing.
    private struct Compared: Error {
        let response: DiffResponse

        init(_ response: DiffResponse) { self.response = response }
    }

    /// What each instance with or without policies should run.
    private static func wanted(_ layers: LayerCache, in store: any StoreReading) throws -> [String: Wanted] {
        try Dictionary(grouping: try store.assignments(), by: \.instance).mapValues {
            try layers.wanted($0.map(\.layer), in: store)
        }
    }

    private static func current(
        _ name: String, _ layers: LayerCache, in store: any StoreReading
    ) throws -> (layer: EffectivePolicy.Layer, document: PolicyDocument)? {
        guard let revision = try store.policy(name)?.currentRevision else { return nil }
        let layer = EffectivePolicy.Layer(policy: name, revision: revision)
        return (layer, try layers.document(layer, in: store))
    }

    private static func response(
        _ policies: [PolicyDifference], before: [String: Wanted], after: [String: Wanted], in store: any StoreReading
    ) throws -> DiffResponse {
        var effective: [String: EffectivePolicy] = [:]
        func note(_ wanted: Wanted?) -> String? {
            switch wanted {
            case .run(let desired):
                effective[desired.hash] = desired.policy
                return desired.hash
            case .conflict: return nil
            case nil:
                effective[EffectivePolicy.none.hash] = EffectivePolicy.none
                return EffectivePolicy.none.hash
            }
        }
        let facts = Dictionary(
            uniqueKeysWithValues: try store.statuses().map { ($0.instance, $0.status.facts) })
        let instances = try store.instances().filter { before[$0.id] != after[$0.id] }.map { row in
            InstanceDifference(
                instance: row.id, oldHash: note(before[row.id]), newHash: note(after[row.id]),
                facts: facts[row.id] ?? nil)
        }
        return DiffResponse(policies: policies, instances: instances, effective: effective)
    }
}
