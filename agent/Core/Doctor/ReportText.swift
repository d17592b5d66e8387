// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: natfleet contributors

import NetAddress

extension DoctorReport {
    /// For people: a line a check, below it what was read and how to mend it.
    ///
    /// - Parameter ruleLimit: longer lists of rules are cut, and say how to see the rest.
    package func text(ruleLimit: Int = 40) -> String {
        let width = checks.map(\.title.count).max() ?? 0
        let indent = String(repeating: " ", count: 6 + width + 2)
        var lines: [String] = []
        for check in checks {
            lines.append("\(pad(check.verdict.rawValue, 4))  \(pad(check.title, width))  \(check.message)")
            if let remedy = check.remedy { lines.append("\(indent)fix: \(remedy)") }
            lines += check.details.map { indent + $0 }
            lines += ruleLines(check, ruleLimit).map { "      " + $0 }
        }
        let counts = Check.Verdict.allCases.reversed().compactMap { verdict in
            let count = checks.count { $0.verdict == verdict }
            return count > 0 ? "\(count) \(verdict.rawValue)" : nil
        }
        return (lines + [counts.joined(separator: ", ")]).joined(separator: "\n") + "\n"
    }

    private func ruleLines(_ check: Check, _ limit: Int) -> [String] {
        guard let rules = check.rules, !rules.isEmpty else { return [] }
        let shown = rules.prefix(limit)
        let columns = shown.map { rule in
            [
                rule.table, rule.chain, "\(rule.number)", rule.packets.map(String.init) ?? "",
                rule.bytes.map(String.init) ?? "",
            ]
        }
        let heads = ["table", "chain", "num", "pkts", "bytes"]
        let widths = heads.indices.map { index in (columns.map { $0[index].count } + [heads[index].count]).max() ?? 0 }
        func line(_ cells: [String], _ rule: String) -> String {
            let padded = zip(cells, widths).enumerated().map { index, cell in
                index < 2 ? pad(cell.0, cell.1) : String(repeating: " ", count: cell.1 - cell.0.count) + cell.0
            }
            return (padded + [rule]).joined(separator: "  ")
        }
        let more = rules.count - shown.count
        let program = (check.family ?? .ipv4).program
        return [line(heads, "rule")] + zip(columns, shown).map { line($0, $1.rule) }
            + (more > 0 ? ["and \(more) more: \(program) -t nat -L -n -v --line-numbers"] : [])
    }
}

func pad(_ text: String, _ width: Int) -> String {
    text + String(repeating: " ", count: max(0, width - text.count))
}
