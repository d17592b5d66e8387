// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: natfleet contributors

internal import FleetModel
internal import Foundation

extension CLIContext {
    private static var interval: Duration { .seconds(2) }

    /// Lists what `fetch` gives, once or for as long as the process runs.
    func show<Item>(
        watch: Bool, as format: ListFormat, title: String, _ fetch: () async throws -> Selection<Item>
    ) async throws {
        guard watch else { return try list(try await fetch(), as: format) }
        try await self.watch(as: format, title: printable(title), fetch)
    }

    /// Shows what `fetch` gives, again and again until the process is ended: a terminal is repainted, anything else gets
    /// the rows that changed, below one another. Once it has begun, a controller that does not answer is no end.
    ///
    /// - Throws: what the first `fetch` throws.
    private func watch<Item>(as format: ListFormat, title: String, _ fetch: () async throws -> Selection<Item>)
        async throws
    {
        var log = WatchLog<Item>(format: format)
        var trouble: String?
        var shown: Selection<Item>?
        while true {
            var context = self
            context.now = clock()
            do {
                shown = try await fetch()
                trouble = nil
            } catch let error where shown != nil {
                let message = ((error as? Failure)?.error ?? error as? FleetError)?.message ?? "\(error)"
                if !isTerminal, trouble == nil { note("\(message); trying on") }
                trouble = message
            }
            if let shown {
                if isTerminal {
                    context.repaint(shown, as: format, title: title, trouble: trouble)
                } else if trouble == nil {
                    log.append(shown, context)
                }
            }
            do {
                try await sleep(Self.interval)
            } catch is CancellationError {
                return
            }
        }
    }

    /// One frame: from the top left corner, each line clearing what was right of it, and all below cleared at its end.
    /// Lines are cut at the edge rather than wrapped, which would move those below.
    private func repaint<Item>(_ selection: Selection<Item>, as format: ListFormat, title: String, trouble: String?) {
        var lines = ["\(title) at \(now.formatted(.iso8601)), every 2s, Ctrl-C ends"]
        if let trouble { lines.append(Cell("not up to date: \(trouble)", .bad).rendered(width: 0, colour: usesColour)) }
        lines.append("")
        if selection.items.isEmpty { lines.append(Item.noneNote) }
        switch format {
        case .name: lines += selection.items.map { printable($0.reference) }
        default:
            let table =
                selection.items.isEmpty ? "" : selection.table(wide: format == .wide, now).rendered(colour: usesColour)
            lines += table.split(separator: "\n").map(String.init)
        }
        // The cursor rests on a line of its own, and the line that says how many more takes another.
        if let height = height(), lines.count > height - 1 {
            let kept = max(1, height - 2)
            lines = lines.prefix(kept) + ["... \(lines.count - kept) more"]
        }
        output("\u{1b}[?7l\u{1b}[H" + lines.map { "\($0)\u{1b}[K\n" }.joined() + "\u{1b}[J\u{1b}[?7h")
    }
}

/// What a watch has told on something that is no terminal.
private struct WatchLog<Item: Resource> {
    let format: ListFormat
    /// By reference: the row as of long ago, when all that happened since has the same age, so that neither the passing of
    /// time nor a check-in is a change.
    private var told: [String: [String]] = [:]
    private var widths: [Int]?

    init(format: ListFormat) { self.format = format }

    mutating func append(_ selection: Selection<Item>, _ context: CLIContext) {
        let items = Item.isLog ? selection.items.reversed() : selection.items
        var news: [Item] = []
        var present: Set<String> = []
        for item in items {
            let row = item.row(.distantPast) + item.wideCells(.distantPast)
            let text = row.map(\.text)
            present.insert(item.reference)
            if told.updateValue(text, forKey: item.reference) != text { news.append(item) }
        }
        if !Item.isLog {
            for reference in told.keys.sorted() where !present.contains(reference) {
                told[reference] = nil
                context.note("\(reference) is gone")
            }
        }
        if !news.isEmpty { show(news, context) }
    }

    private mutating func show(_ items: [Item], _ context: CLIContext) {
        guard format != .name else {
            return context.output(items.map { printable($0.reference) + "\n" }.joined())
        }
        let news = Selection(items, isSingle: true).table(wide: format == .wide, context.now)
        if let widths {
            let text = Table.text(news.rows, widths: widths, colour: context.usesColour)
            return context.output(text)
        }
        widths = news.widths
        context.output(news.rendered(colour: context.usesColour))
    }
}
