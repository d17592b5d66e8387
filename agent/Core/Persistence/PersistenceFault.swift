// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: natfleet contributors

package import FleetModel
package import NetAddress

/// One thing that a reboot, or a service of the distribution, would make wrong.
package struct PersistenceFault: Hashable, Sendable {
    package enum Kind: Hashable, Sendable, CaseIterable {
        /// A file of rules is missing, broken or says something else.
        case rules
        /// A file of settings is missing or says something else.
        case settings
        /// A unit that restores at boot is not enabled, or missing.
        case unit
        /// A service of the distribution saves by itself when it stops, trials included.
        case savesOnStop
        /// Somebody else's sysctl file turns forwarding on before the rules are there.
        case forwardsAtBoot
        /// The distribution's restore failed at boot.
        case restoreFailed
        /// No unit of natfleet's can run at boot: this machine has no systemd.
        case noUnits

        var losesState: Bool {
            switch self {
            case .rules, .settings, .unit: true
            case .savesOnStop, .forwardsAtBoot, .restoreFailed, .noUnits: false
            }
        }

        var condition: ConditionKind {
            switch self {
            case .rules, .settings, .unit: .notPersisted
            case .savesOnStop: .savesOnStop
            case .forwardsAtBoot: .forwardsAtBoot
            case .restoreFailed: .restoreFailed
            case .noUnits: .notRestoredAtBoot
            }
        }
    }

    package var kind: Kind
    /// nil where it concerns both.
    package var family: IPFamily?
    /// One line, lower case, without a final period.
    package var message: String

    package init(_ kind: Kind, _ message: String, family: IPFamily? = nil) {
        self.kind = kind
        self.family = family
        self.message = message
    }
}

extension PersistenceFault: CustomStringConvertible {
    package var description: String { family.map { "\($0.label): \(message)" } ?? message }
}

extension PersistenceReport {
    /// What the instance shows: one condition a kind and family, all messages in it.
    package var conditions: [Condition] {
        struct Group: Hashable {
            let kind: ConditionKind
            let family: IPFamily?
            var order: [String] { [kind.code, family?.rawValue ?? ""] }
        }
        let groups = Dictionary(grouping: faults) { Group(kind: $0.kind.condition, family: $0.family) }
        return groups.sorted { $0.key.order.lexicographicallyPrecedes($1.key.order) }.map { group, faults in
            Condition(group.kind, faults.map(\.description).joined(separator: "; "), family: group.family)
        }
    }
}
