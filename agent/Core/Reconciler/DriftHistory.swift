// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: natfleet contributors

import FleetModel

#if canImport(FoundationEssentials)
    import FoundationEssentials
#else
    import Foundation
#endif

/// Repairs of rules and sysctls that somebody else changed. Times are seconds of a clock that never goes back.
struct DriftHistory: Sendable {
    /// Three repairs within this time are a fight.
    static let window = 300.0

    private var times: [Double] = []
    private(set) var summary: Drift?

    mutating func repaired(_ differences: [String], _ now: Double) {
        times = times.filter { now - $0 < Self.window } + [now]
        summary = Drift(repairs: (summary?.repairs ?? 0) + 1, lastAt: Date(), lastDifference: brief(differences))
    }

    func isContended(_ now: Double) -> Bool { times.count { now - $0 < Self.window } >= 3 }

    /// Shown for as long as a repair counts.
    func conditions(_ now: Double) -> [Condition] {
        let recent = times.count { now - $0 < Self.window }
        guard recent > 0, let summary else { return [] }
        if isContended(now) {
            return [
                Condition(
                    .contended, "put back \(recent) times in 5 minutes, now every 30 s: \(summary.lastDifference)")
            ]
        }
        return [Condition(.driftRepaired, "put back: \(summary.lastDifference)")]
    }
}
