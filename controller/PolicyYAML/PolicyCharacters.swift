// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: natfleet contributors

import NATPolicy

/// The text as Yams gets to see it.
///
/// `&`, `*` and `!` begin anchors, aliases and tags, and only a YAML scanner knows where they do and where they are text.
/// Yams expands aliases before anyone can look, and can hang on it. So each of the three is swapped for a private
/// character of the same width, which is nothing but text to a scanner: a plain scalar that comes back beginning with
/// one would have been an anchor, an alias or a tag; everywhere else the swap is undone.
struct PolicyCharacters {
    /// What Yams may parse.
    private(set) var text = ""
    private(set) var diagnostics: [Diagnostic] = []
    private(set) var isDisguised = false

    /// U+F021 for U+0021, and so on. Private characters are refused in policies, so none of these is the author's.
    private static let offset: UInt32 = 0xf000

    init(_ file: PolicyText) {
        var scalars = String.UnicodeScalarView()
        var mark = PolicyNode.Mark(line: 1, column: 1)
        var previous: Unicode.Scalar = "\n"
        for (index, scalar) in file.text.unicodeScalars.enumerated() {
            if index == 0, scalar == "\u{feff}" { continue }
            if scalar == "&" || scalar == "*" || scalar == "!" {
                isDisguised = true
                scalars.append(Unicode.Scalar(Self.offset + scalar.value) ?? scalar)
            } else {
                if let fault = Self.fault(scalar) {
                    diagnostics.append(
                        Diagnostic(
                            file: file.name, line: mark.line, column: mark.column, path: "", message: fault.message,
                            remedy: fault.remedy))
                    if diagnostics.count >= 10 { return }
                }
                scalars.append(scalar)
            }
            switch scalar {
            case "\n" where previous == "\r": break
            case "\n", "\r": mark = PolicyNode.Mark(line: mark.line + 1, column: 1)
            default: mark.column += 1
            }
            previous = scalar
        }
        text = String(scalars)
    }

    /// The author's text again.
    static func restored(_ text: String) -> String {
        guard text.unicodeScalars.contains(where: { original($0) != nil }) else { return text }
        var scalars = String.UnicodeScalarView()
        scalars.append(contentsOf: text.unicodeScalars.lazy.map { original($0) ?? $0 })
        return String(scalars)
    }

    /// What a private character stands for; nil for any other.
    static func original(_ scalar: Unicode.Scalar) -> Unicode.Scalar? {
        switch scalar {
        case "\u{f026}": "&"
        case "\u{f02a}": "*"
        case "\u{f021}": "!"
        default: nil
        }
    }

    /// What a policy has no use for and a parser or a terminal could trip over: control characters, the line breaks
    /// that editors don't count as such, private and reserved characters.
    private static func fault(_ scalar: Unicode.Scalar) -> (message: String, remedy: String)? {
        switch scalar.value {
        case 0x09, 0x0a, 0x0d, 0x20...0x7e: return nil
        case 0xfffd: return ("this is not UTF-8 text", "save the file in UTF-8")
        case 0x00...0x1f, 0x7f...0x9f, 0x2028, 0x2029, 0xe000...0xf8ff, 0xfeff, 0xfffe, 0xffff:
            let digits = String(scalar.value, radix: 16, uppercase: true)
            let code = String(repeating: "0", count: max(0, 4 - digits.count)) + digits
            return ("the character U+\(code) can't be in a policy", "remove it")
        default: return nil
        }
    }
}
