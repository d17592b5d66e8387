// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: natfleet contributors

/// A word of the output and what it means for the fleet; only a terminal shows the difference.
struct Cell: ExpressibleByStringLiteral {
    enum Style: String {
        case plain = ""
        case good = "32"
        case warning = "33"
        case bad = "31"
    }

    var text: String
    var style: Style

    init(_ text: String, _ style: Style = .plain) {
        self.text = printable(text)
        self.style = style
    }

    init(stringLiteral value: String) { self.init(value) }

    /// Padded to `width`, and then coloured: escape sequences have no width.
    func rendered(width: Int, colour: Bool) -> String {
        let padding = String(repeating: " ", count: max(0, width - text.count))
        guard colour, style != .plain else { return text + padding }
        return "\u{1b}[\(style.rawValue)m\(text)\u{1b}[0m\(padding)"
    }
}

/// Rows for people: a head line, left-aligned columns three spaces apart, nothing after the last.
struct Table {
    var head: [String]
    var rows: [[Cell]]

    var widths: [Int] {
        head.indices.map { column in max(head[column].count, rows.map { $0[column].text.count }.max() ?? 0) }
    }

    func rendered(colour: Bool, indent: String = "") -> String {
        Table.text([head.map { Cell($0) }] + rows, widths: widths, colour: colour, indent: indent)
    }

    /// Lines below a table that was printed with `widths` before.
    static func text(_ lines: [[Cell]], widths: [Int], colour: Bool, indent: String = "") -> String {
        lines.map { line in
            let cells = line.enumerated().map { column, cell in
                cell.rendered(width: column == widths.count - 1 ? 0 : widths[column], colour: colour)
            }
            return indent + cells.joined(separator: "   ") + "\n"
        }.joined()
    }
}
