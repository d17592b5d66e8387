// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: natfleet contributors

package import NetAddress

/// A kind of thing that can be wrong with an instance; all of them are in `catalogue`.
package struct ConditionKind: Hashable, Sendable {
    package enum Severity: String, Codable, Hashable, Comparable, Sendable {
        case warning
        case critical

        package static func < (left: Severity, right: Severity) -> Bool { left == .warning && right == .critical }
    }

    /// Stable, kebab-case.
    package let code: String
    package let severity: Severity
    /// An imperative sentence for the operator.
    package let remedy: String
    /// Seconds that it has to last before it shows.
    package let after: Double
    /// Kinds that it follows from: while one of them is the case it is not shown.
    package let dependsOn: [ConditionKind]
    /// Shown on the instance only: the controller knows it by itself, or would hear of it when it is over.
    package let isLocal: Bool

    package init(
        code: String, severity: Severity, after: Double = 0, dependsOn: [ConditionKind] = [], isLocal: Bool = false,
        remedy: String
    ) {
        self.code = code
        self.severity = severity
        self.remedy = remedy
        self.after = after
        self.dependsOn = dependsOn
        self.isLocal = isLocal
    }
}

/// A condition that an instance shows now.
package struct Condition: Codable, Hashable, Sendable {
    package var code: String
    package var severity: ConditionKind.Severity
    /// nil where it concerns both, or neither.
    package var family: IPFamily?
    /// What is the case here, one line; the same words for as long as the same is the case.
    package var message: String
    package var remedy: String

    package init(_ kind: ConditionKind, _ message: String, family: IPFamily? = nil) {
        self.code = kind.code
        self.severity = kind.severity
        self.family = family
        self.message = message
        self.remedy = kind.remedy
    }
}
