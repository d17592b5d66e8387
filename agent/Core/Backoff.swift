// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: natfleet contributors

/// Full jitter: after the k-th failure in a row a wait drawn evenly from 0 to min(60, 2^k) seconds, so that a fleet
/// never comes back in step (DESIGN §7).
package struct Backoff: Hashable, Sendable {
    package static let cap = 60.0
    package private(set) var failures = 0

    package init() {}

    package mutating func succeeded() { failures = 0 }

    /// Seconds to wait after one more failure.
    /// - Parameters:
    ///   - unit: a random number in 0..<1.
    ///   - retryAfter: what the controller asked for, in seconds; the wait is never shorter.
    package mutating func failed(unit: Double, retryAfter: Double? = nil) -> Double {
        failures += 1
        let ceiling = failures >= 6 ? Self.cap : Double(1 << failures)
        return max(unit * ceiling, min(retryAfter ?? 0, 3600))
    }
}
