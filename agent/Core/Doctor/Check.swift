// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: natfleet contributors

package import NetAddress

/// One thing that `natfleet-agent doctor` looked at, and what it makes of it.
package struct Check: Codable, Hashable, Sendable {
    package enum Verdict: String, Codable, CaseIterable, Comparable, Hashable, Sendable {
        case ok
        /// Works, and will not for ever; or nobody can tell.
        case warn
        case bad

        private var rank: Int { Self.allCases.firstIndex(of: self) ?? 0 }

        package static func < (left: Verdict, right: Verdict) -> Bool { left.rank < right.rank }
    }

    /// A rule of the kernel's, as `iptables -L --line-numbers -v` would show it.
    package struct RuleLine: Codable, Hashable, Sendable {
        package var table: String
        package var chain: String
        /// Counts from 1, rules of others included.
        package var number: Int
        /// nil for jumps into natfleet's chains, which are found without their counters.
        package var packets: UInt64?
        package var bytes: UInt64?
        /// Without `-A CHAIN`.
        package var rule: String
    }

    /// Stable, kebab-case.
    package var name: String
    /// nil where it concerns both, or neither.
    package var family: IPFamily?
    package var verdict: Verdict
    /// What is the case, one line, lower case, without a final period.
    package var message: String
    /// What to do, an imperative sentence; nil where all is well.
    package var remedy: String?
    /// What was read, a line each.
    package var details: [String]
    package var rules: [RuleLine]?

    package init(
        _ name: String, _ family: IPFamily? = nil, _ verdict: Verdict, _ message: String, fix remedy: String? = nil,
        details: [String] = []
    ) {
        self.name = name
        self.family = family
        self.verdict = verdict
        self.message = message
        self.remedy = remedy
        self.details = details
    }

    /// `IPv4 default route`
    package var title: String {
        let words = name.split(separator: "-").joined(separator: " ")
        return family.map { "\($0.label) \(words)" } ?? words
    }
}

package struct DoctorReport: Codable, Hashable, Sendable {
    /// The worst of all.
    package var verdict: Check.Verdict
    package var checks: [Check]

    package init(_ checks: [Check]) {
        verdict = checks.map(\.verdict).max() ?? .ok
        self.checks = checks
    }
}
