// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: natfleet contributors

internal import Foundation

/// A kind of thing that `get` lists and `describe` shows in full.
protocol Resource: Encodable {
    static var head: [String] { get }
    /// What to say, and what to do next, when there is none.
    static var noneNote: String { get }
    /// The order of lists.
    static func precedes(_ left: Self, _ right: Self) -> Bool
    func row(_ now: Date) -> [Cell]
    func description(_ now: Date) -> Description
}

/// Things asked for: a single one by name shows as itself, else as a list.
struct Selection<Item: Resource>: Encodable {
    var items: [Item]
    var isSingle: Bool

    init(_ items: [Item], isSingle: Bool = false) {
        self.items = isSingle ? items : items.sorted(by: Item.precedes)
        self.isSingle = isSingle
    }

    func encode(to encoder: any Encoder) throws {
        var container = encoder.singleValueContainer()
        if isSingle, let item = items.first {
            try container.encode(item)
        } else {
            try container.encode(items)
        }
    }
}

extension CLIContext {
    func list<Item>(_ selection: Selection<Item>, as format: OutputFormat) throws {
        if selection.items.isEmpty { note(Item.noneNote) }
        try write(selection, as: format) {
            selection.items.isEmpty
                ? "" : Table(head: Item.head, rows: selection.items.map { $0.row(now) }).rendered(colour: usesColour)
        }
    }

    func describe<Item>(_ selection: Selection<Item>, as format: OutputFormat) throws {
        if selection.items.isEmpty { note(Item.noneNote) }
        try write(selection, as: format) {
            selection.items.map { $0.description(now).rendered(colour: usesColour) }.joined(separator: "\n")
        }
    }
}
