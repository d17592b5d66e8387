// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: natfleet contributors

package import FleetModel

/// How full connection tracking is, and whether it loses connections.
package struct ConntrackWatch: Sendable {
    private enum Level: Int, CaseIterable {
        case fine
        case high
        case full

        /// Percent from which it is, and below which it is no more: a table at a limit is news once.
        var limits: (rising: Int, falling: Int) {
            switch self {
            case .fine: (0, 0)
            case .high: (80, 75)
            case .full: (95, 90)
            }
        }
    }

    /// Losses are counted over this long, in seconds.
    static let window = 300.0
    /// Two packets of one new flow at once clash and lose one, on any machine: a resolver's pair of questions.
    static let tolerated: UInt64 = 10

    private var level = Level.fine
    /// A few a window, oldest first.
    private var samples: [(time: Double, counters: ConntrackCounters)] = []

    package init() {}

    /// - Parameter usage: nil where the kernel tracks nothing yet.
    package mutating func conditions(_ usage: ConntrackUsage?, now: Double) -> [Condition] {
        guard let usage else {
            self = ConntrackWatch()
            return []
        }
        return filling(usage) + losses(usage.counters, now)
    }

    private mutating func filling(_ usage: ConntrackUsage) -> [Condition] {
        guard usage.max > 0 else { return [] }
        let percent = usage.count * 100 / usage.max
        let before = level
        level =
            Level.allCases.last { percent >= ($0.rawValue <= before.rawValue ? $0.limits.falling : $0.limits.rising) }
            ?? .fine
        let message = "over \(level.limits.rising) % of \(usage.max) entries of connection tracking are taken"
        return switch level {
        case .fine: []
        case .high: [Condition(.conntrackHigh, message)]
        case .full: [Condition(.conntrackFull, message)]
        }
    }

    private mutating func losses(_ counters: ConntrackCounters?, _ now: Double) -> [Condition] {
        guard let counters else { return [] }
        // Counters of a new namespace, or of a module that was loaded again.
        if let last = samples.last?.counters,
            counters.insertFailed < last.insertFailed || counters.dropped < last.dropped
        {
            samples = []
        }
        samples.removeAll { now - $0.time > Self.window }
        defer { if now - (samples.last?.time ?? -.infinity) >= Self.window / 10 { samples.append((now, counters)) } }
        guard let first = samples.first?.counters else { return [] }
        // A clash counts as a drop too.
        if counters.insertFailed - first.insertFailed > Self.tolerated {
            return [
                Condition(
                    .connectionsDropped,
                    "new connections found no free source port towards their destination, or clashed, in the last 5 min"
                )
            ]
        }
        if counters.dropped - first.dropped > Self.tolerated {
            return [Condition(.connectionsDropped, "connection tracking dropped packets in the last 5 min")]
        }
        return []
    }
}
