// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: natfleet contributors

import NATPolicy
import NetAddress
import Yams

/// A fault that Yams stopped at, in our words and with a remedy.
///
/// - Parameter text: as Yams saw it.
func syntaxFault(_ error: YamlError, file: String, text: String) -> Diagnostic {
    func diagnostic(_ mark: PolicyNode.Mark, _ message: String, _ remedy: String) -> Diagnostic {
        Diagnostic(file: file, line: mark.line, column: mark.column, path: "", message: message, remedy: remedy)
    }
    switch error {
    case .scanner(let context, let problem, let yamlMark, _), .parser(let context, let problem, let yamlMark, _),
        .composer(let context, let problem, let yamlMark, _):
        let mark = PolicyNode.Mark(yamlMark)
        let lines = LinesAround(text, line: mark.line)
        if let (indicator, place) = lines.indicator {
            let fault = indicatorFault(indicator)
            return diagnostic(place, fault.message, fault.remedy)
        }
        if problem.contains("unexpected end of stream"), let context, context.text.contains("quoted scalar") {
            // What is missing is at the file's end to Yams, and where the quote began to a person.
            return diagnostic(
                PolicyNode.Mark(context.mark), "not valid YAML: this quote is never closed", "add the missing quote")
        }
        let start = context.map { $0.mark.line == mark.line ? $0.text : "\($0.text) from line \($0.mark.line)" }
        let message = start.map { "\(problem) \($0)" } ?? problem
        return diagnostic(
            mark, "not valid YAML: \(message)", remedy(problem: problem, context: context?.text, at: mark, lines))
    case .duplicatedKeysInMapping(let keys, let context):
        let key = PolicyCharacters.restored(keys.first ?? "")
        return diagnostic(PolicyNode.Mark(context.mark), "key \(quoted(key)) is written twice", "keep one of them")
    case .no, .memory, .reader, .writer, .emitter, .representer, .dataCouldNotBeDecoded:
        return diagnostic(
            PolicyNode.Mark(line: 1, column: 1), "not valid YAML", "check that the file is YAML or JSON in UTF-8")
    }
}

private func remedy(problem: String, context: String?, at mark: PolicyNode.Mark, _ lines: LinesAround) -> String {
    if lines.beginsWithTab(at: mark) { return "indent with spaces, not with tabs" }
    if lines.hasBareIPv6Target { return "put the target in quotes: to: \"[2001:db8::1]:80\"" }
    if problem.contains("mapping values are not allowed") {
        return "check the indentation, and put text that holds ': ' in quotes"
    }
    if problem.contains("or ']'") || problem.contains("or '}'") { return "add the missing comma or bracket" }
    if problem.contains("cannot start any token") { return "put text that begins with this character in quotes" }
    if context?.contains("quoted scalar") ?? false { return "use \\\\ for a backslash, or single quotes" }
    return "check indentation, quotes and brackets here and in the line above"
}

extension PolicyNode.Mark {
    init(_ mark: Yams.Mark) { self.init(line: mark.line, column: mark.column) }
}

/// The line of a fault and the one above that is not blank.
private struct LinesAround {
    private var lines: [(number: Int, scalars: [Unicode.Scalar])] = []

    init(_ text: String, line: Int) {
        var number = 1
        var current: [Unicode.Scalar] = []
        var previous: Unicode.Scalar = "\n"
        var candidates: [(Int, [Unicode.Scalar])] = []
        func note() {
            guard current.contains(where: { $0 != " " && $0 != "\t" }) || number == line else { return }
            candidates = candidates.suffix(1) + [(number, current)]
        }
        for scalar in text.unicodeScalars {
            defer { previous = scalar }
            if scalar == "\n", previous == "\r" { continue }
            guard scalar == "\n" || scalar == "\r" else {
                current.append(scalar)
                continue
            }
            note()
            if number == line { break }
            number += 1
            current = []
        }
        if number <= line, candidates.last?.0 != number { note() }
        lines = candidates.map { (number: $0.0, scalars: $0.1) }
    }

    /// An anchor, alias or tag that became text which then did not fit, with its place. A comment or quotes before it
    /// on its line end the search there.
    var indicator: (Unicode.Scalar, PolicyNode.Mark)? {
        for (number, scalars) in lines.reversed() {
            var previous: Unicode.Scalar = " "
            for (index, scalar) in scalars.enumerated() {
                if scalar == "\"" || scalar == "'" || (scalar == "#" && previous == " ") { break }
                let isTokenStart = previous == " " && isTextStart(scalars[..<index])
                if isTokenStart, let indicator = PolicyCharacters.original(scalar) {
                    return (indicator, PolicyNode.Mark(line: number, column: index + 1))
                }
                previous = scalar
            }
        }
        return nil
    }

    /// Whether what comes next begins a value: after `key:`, `-`, `?`, a bracket or a comma, or at the line's begin.
    private func isTextStart(_ before: ArraySlice<Unicode.Scalar>) -> Bool {
        guard let last = before.last(where: { $0 != " " && $0 != "\t" }) else { return true }
        return ":-?[{,".unicodeScalars.contains(last)
    }

    func beginsWithTab(at mark: PolicyNode.Mark) -> Bool {
        guard let line = lines.first(where: { $0.number == mark.line }) else { return false }
        return line.scalars.prefix { $0 == " " || $0 == "\t" }.contains("\t")
    }

    /// `to: [2001:db8::1]:80` is a list to YAML.
    var hasBareIPv6Target: Bool {
        lines.contains { line in
            let text = String(String.UnicodeScalarView(line.scalars))
            return text.contains("to: [") && text.contains("]:")
        }
    }
}
