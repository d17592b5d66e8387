// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: natfleet contributors

package import FleetModel
import NetAddress

/// Which of the things that are the case an operator gets to see: those that last long enough and follow from nothing else
/// that is shown. Pure but for its memory of since when.
package struct ConditionBoard: Hashable, Sendable {
    private struct Key: Hashable {
        let code: String
        let family: IPFamily?

        init(_ condition: Condition) { (code, family) = (condition.code, condition.family) }
    }

    private var since: [Key: Double] = [:]
    /// Seconds from the last call until another of them may show; nil where all have lasted long enough.
    package private(set) var wait: Double?

    package init() {}

    /// - Parameters:
    ///   - present: all that is the case.
    ///   - now: seconds of a clock that never goes back.
    /// - Returns: worst first.
    package mutating func shown(_ present: [Condition], now: Double) -> [Condition] {
        var times: [Key: Double] = [:]
        var lasting: [(condition: Condition, kind: ConditionKind?)] = []
        wait = nil
        for condition in present {
            let kind = ConditionKind.named(condition.code)
            let began = since[Key(condition)] ?? now
            times[Key(condition)] = began
            let left = began + (kind?.after ?? 0) - now
            if left <= 0 { lasting.append((condition, kind)) } else { wait = min(left, wait ?? left) }
        }
        since = times
        // What a cause hides may hide more: whether the cause itself is shown does not matter.
        let roots = lasting.filter { entry in
            !lasting.contains { entry.kind?.follows($0.kind) == true && entry.condition.concerns($0.condition.family) }
        }
        return roots.map(\.condition).sorted {
            ($1.severity, $0.code, $0.family?.rawValue ?? "") < ($0.severity, $1.code, $1.family?.rawValue ?? "")
        }
    }
}

extension ConditionKind {
    fileprivate func follows(_ other: ConditionKind?) -> Bool { dependsOn.contains { $0.code == other?.code } }
}

extension Condition {
    fileprivate func concerns(_ family: IPFamily?) -> Bool {
        self.family == nil || family == nil || self.family == family
    }
}
