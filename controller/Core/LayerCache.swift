// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: natfleet contributors

import FleetAPI
import FleetModel
import NATPolicy
import Synchronization

#if canImport(FoundationEssentials)
    import FoundationEssentials
#else
    import Foundation
#endif

/// What a set of layers comes to: something to run, or conflicts.
enum Wanted: Hashable, Sendable {
    case run(DesiredState)
    /// The layers in (priority, name) order, and what they disagree on.
    case conflict([EffectivePolicy.Layer], [LayerConflict])

    var hash: String? {
        guard case .run(let desired) = self else { return nil }
        return desired.hash
    }

    /// Why nothing is offered, in words that name the policies.
    var hold: String? {
        guard case .conflict(_, let conflicts) = self else { return nil }
        return conflicts.map(\.message).joined(separator: "; ")
    }

    /// The same, for an instance whose operator asked for it to be tried again; 0 where nobody did.
    func asked(_ attempt: Int) -> Wanted {
        guard case .run(var desired) = self, attempt > 0 else { return self }
        desired.attempt = attempt
        return .run(desired)
    }
}

/// Effective policies by the layers that they are made of. Stored revisions are immutable, so an entry is right for ever;
/// the bound only limits memory.
///
/// A transaction that makes revisions uses a cache of its own `over` the shared one: a revision that is rolled back never
/// was, and its number goes to another document.
final class LayerCache: Sendable {
    private static let limit = 512
    private let shared: LayerCache?
    private let documents = Mutex<[EffectivePolicy.Layer: PolicyDocument]>([:])
    private let merged = Mutex<[[EffectivePolicy.Layer]: Wanted]>([:])

    init(over shared: LayerCache? = nil) { self.shared = shared }

    /// - Parameter layers: in any order.
    func wanted(_ layers: [EffectivePolicy.Layer], in store: any StoreReading) throws -> Wanted {
        let key = layers.sorted { ($0.policy, $0.revision) < ($1.policy, $1.revision) }
        if let known = merged.withLock({ $0[key] }) ?? shared?.merged.withLock({ $0[key] }) { return known }
        let specs = try key.map { layer in
            PolicyLayer(
                policy: layer.policy, revision: layer.revision, spec: try document(layer, in: store).spec)
        }
        let wanted: Wanted
        switch mergeLayers(specs) {
        case .success(let policy):
            wanted = .run(DesiredState(hash: policy.hash, policy: policy))
        case .failure(let failure):
            let order = specs.sorted { ($0.spec.priority, $0.policy) < ($1.spec.priority, $1.policy) }
            wanted = .conflict(order.map { .init(policy: $0.policy, revision: $0.revision) }, failure.conflicts)
        }
        merged.withLock { cache in
            if cache.count >= Self.limit { cache.removeAll() }
            cache[key] = wanted
        }
        return wanted
    }

    func document(_ layer: EffectivePolicy.Layer, in store: any StoreReading) throws -> PolicyDocument {
        if let known = documents.withLock({ $0[layer] }) ?? shared?.documents.withLock({ $0[layer] }) { return known }
        guard let row = try store.revision(layer.revision, of: layer.policy) else {
            throw FleetError.fault("revision \(layer.revision) of policy \(layer.policy) is not in the store")
        }
        let document = try row.decoded()
        documents.withLock { cache in
            if cache.count >= Self.limit { cache.removeAll() }
            cache[layer] = document
        }
        return document
    }
}

extension RevisionRow {
    func decoded() throws -> PolicyDocument {
        try WireJSON.decode(PolicyDocument.self, from: Data(document.utf8))
    }
}
