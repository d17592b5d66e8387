// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: natfleet contributors

package import FleetModel
import Synchronization

#if canImport(FoundationEssentials)
    package import FoundationEssentials
#else
    package import Foundation
#endif

/// What happened since this process started.
package struct Tally: Hashable, Sendable {
    package var checkins = 0
    /// New outcomes that agents reported.
    package var outcomes: [Outcome.Result: Int] = [:]
    /// Policies that were created, updated or deleted.
    package var policyChanges = 0
    /// Certificates that were issued to agents.
    package var certificates = 0
}

/// The fleet in numbers, as it stands now.
package struct FleetMeasures: Hashable, Sendable {
    package var tally: Tally
    package var instances: [Instance.Health: Int]
    package var cordoned: Int
    /// Instances that show a condition, by its code.
    package var conditions: [String: Int]
    package var policies: Int
    package var heldCheckins: Int
    package var size: StoreSize
    package var authorityExpires: Date
    /// The soonest end of a certificate of an instance that is not offline; nil where there is none.
    package var instanceCertificateExpires: Date?
}

extension Fleet {
    /// Costs what listing the instances costs.
    package func measure() async throws -> FleetMeasures {
        let instances = try await instances()
        let policies = try await store.read { try $0.policies().count { $0.currentRevision != nil } }
        return FleetMeasures(
            tally: tally.withLock { $0 },
            instances: Dictionary(grouping: instances, by: \.health).mapValues(\.count),
            cordoned: instances.count { $0.cordoned },
            conditions: instances.reduce(into: [:]) { counts, instance in
                for code in Set((instance.status?.conditions ?? []).map(\.code)) { counts[code, default: 0] += 1 }
            },
            policies: policies, heldCheckins: hub.waiting, size: store.size, authorityExpires: authority.expires,
            instanceCertificateExpires: instances.filter { $0.health != .offline }.compactMap(\.certificateExpires)
                .min())
    }

    /// Why the fleet cannot be served now; nil when it can.
    package func obstacle() async -> String? {
        do {
            _ = try await hasOperators()
            return nil
        } catch {
            return "\(error)"
        }
    }
}
