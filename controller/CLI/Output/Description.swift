// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: natfleet contributors

/// One thing in full for people: `Key:  value` lines, and sections below them.
struct Description {
    private enum Part {
        case field(String, Cell)
        case section(String, Table)
        case list(String, [String])
    }

    private var parts: [Part] = []

    mutating func field(_ key: String, _ value: String) { parts.append(.field(key, Cell(value))) }

    mutating func field(_ key: String, _ value: Cell) { parts.append(.field(key, value)) }

    /// A table under a heading; left out when it has no rows.
    mutating func section(_ title: String, _ table: Table) {
        if !table.rows.isEmpty { parts.append(.section(title, table)) }
    }

    /// Lines under a heading; left out when there are none.
    mutating func list(_ title: String, _ lines: [String]) {
        if !lines.isEmpty { parts.append(.list(title, lines.map(printable))) }
    }

    func rendered(colour: Bool) -> String {
        let keys = parts.compactMap { if case .field(let key, _) = $0 { key.count + 1 } else { nil } }
        let width = (keys.max() ?? 0) + 3
        return parts.map { part in
            switch part {
            case .field(let key, let value):
                Cell(key + ":").rendered(width: width, colour: false) + value.rendered(width: 0, colour: colour) + "\n"
            case .section(let title, let table):
                "\(title):\n" + table.rendered(colour: colour, indent: "  ")
            case .list(let title, let lines):
                "\(title):\n" + lines.map { "  \($0)\n" }.joined()
            }
        }.joined()
    }
}
