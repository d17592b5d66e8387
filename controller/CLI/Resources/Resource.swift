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
    /// The columns that `-o wide` adds.
    static var wideHead: [String] { get }
    func wideCells(_ now: Date) -> [Cell]
    /// `instance/i-0abc`: which one it is, among everything.
    var reference: String { get }
    /// A log: new ones come first in lists, old ones never leave.
    static var isLog: Bool { get }
    func description(_ now: Date) -> Description
    /// The file that `apply` takes, YAML; nil for what is in no file.
    var file: String? { get }
}

extension Resource {
    static var isLog: Bool { false }
    var file: String? { nil }
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

extension Selection {
    /// For people.
    func table(wide: Bool, _ now: Date) -> Table {
        wide
            ? Table(head: Item.head + Item.wideHead, rows: items.map { $0.row(now) + $0.wideCells(now) })
            : Table(head: Item.head, rows: items.map { $0.row(now) })
    }
}

extension CLIContext {
    func list<Item>(_ selection: Selection<Item>, as format: ListFormat) throws {
        if selection.items.isEmpty { note(Item.noneNote) }
        switch format {
        case .json: try write(selection, as: .json) { "" }
        case .yaml:
            let files = selection.items.compactMap(\.file)
            guard files.isEmpty else { return output(files.joined(separator: "---\n")) }
            try write(selection, as: .yaml) { "" }
        case .name: output(selection.items.map { printable($0.reference) + "\n" }.joined())
        case .table, .wide:
            guard !selection.items.isEmpty else { return }
            output(selection.table(wide: format == .wide, now).rendered(colour: usesColour))
        }
    }

    func describe<Item>(_ selection: Selection<Item>, as format: OutputFormat) throws {
        if selection.items.isEmpty { note(Item.noneNote) }
        try write(selection, as: format) {
            selection.items.map { $0.description(now).rendered(colour: usesColour) }.joined(separator: "\n")
        }
    }
}
