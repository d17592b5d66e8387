// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: natfleet contributors

/// What an import has to say about a line.
package struct ImportRemark: Hashable, Sendable {
    package enum Kind: String, Hashable, Sendable {
        /// Taken over, with something to know.
        case note
        /// Not a matter of NAT: it stays in the kernel as it is.
        case kept
        /// Not in the policy, although it should be for the same rules.
        case leftOver = "left over"
    }

    package struct Place: Hashable, Sendable {
        package var file: String
        /// 1-based.
        package var line: Int
    }

    package var kind: Kind
    package var place: Place
    /// The line itself; nil where the text stands alone.
    package var rule: String?
    /// Lower case, without a final period.
    package var text: String

    static func left(_ rule: String, _ text: String, at place: Place) -> ImportRemark {
        ImportRemark(kind: .leftOver, place: place, rule: rule, text: text)
    }
}
