// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: natfleet contributors

/// A document as its author wrote it, before it means anything: the tree of a YAML or JSON parser with a place for each
/// value, so that this target knows neither format.
package struct PolicyNode: Hashable, Sendable {
    /// Where a value begins. Both count from 1; columns count Unicode scalars.
    package struct Mark: Hashable, Sendable {
        package var line: Int
        package var column: Int

        package init(line: Int, column: Int) {
            self.line = line
            self.column = column
        }
    }

    package struct Pair: Hashable, Sendable {
        package var key: PolicyNode
        package var value: PolicyNode

        package init(key: PolicyNode, value: PolicyNode) {
            self.key = key
            self.value = value
        }
    }

    package indirect enum Content: Hashable, Sendable {
        /// `isPlain`: written without quotes, so it may be a number, a truth value or nothing at all.
        case scalar(String, isPlain: Bool)
        case sequence([PolicyNode])
        /// In the order of the file; a key may occur twice.
        case mapping([Pair])
    }

    package var content: Content
    package var mark: Mark

    package init(_ content: Content, mark: Mark) {
        self.content = content
        self.mark = mark
    }

    /// Nothing was written: `key:` and no more, `~` or `null`.
    package var isNull: Bool {
        guard case .scalar(let text, isPlain: true) = content else { return false }
        return ["", "~", "null", "Null", "NULL"].contains(text)
    }

    /// What it is, in the words of a message: `a list`, `a number`.
    var kind: String {
        switch content {
        case .sequence: return "a list"
        case .mapping: return "a mapping"
        case .scalar(_, isPlain: false): return "text"
        case .scalar(let text, isPlain: true):
            if isNull { return "nothing" }
            if Self.truth(text) != nil { return "a truth value" }
            return Self.isNumber(text) ? "a number" : "text"
        }
    }

    static func truth(_ text: String) -> Bool? {
        switch text {
        case "true", "True", "TRUE": true
        case "false", "False", "FALSE": false
        default: nil
        }
    }

    /// A number to YAML 1.1 or 1.2 or JSON. `Double` alone would take `nan` and `infinity`, which are names too.
    static func isNumber(_ text: String) -> Bool {
        let digits = text.drop { $0 == "-" || $0 == "+" }
        guard let first = digits.utf8.first,
            (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(first) || first == UInt8(ascii: ".")
        else { return false }
        return Double(text) != nil || (digits.hasPrefix("0o") && Int(digits.dropFirst(2), radix: 8) != nil)
    }
}
