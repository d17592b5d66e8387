// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: natfleet contributors

package import FleetModel

#if canImport(FoundationEssentials)
    package import FoundationEssentials
#else
    package import Foundation
#endif

/// What a running agent tells whoever is logged in: `natfleet-agent status` shows it. Nothing rests on it.
package struct ToldConditions: Codable, Hashable, Sendable {
    /// Worst first, with those that only the instance itself shows.
    package var conditions: [Condition]
    /// Since when they are these.
    package var since: Date

    package init(conditions: [Condition], since: Date) {
        self.conditions = conditions
        self.since = since
    }
}
