// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: natfleet contributors

package import Netfilter

/// The text of a file of rules as `iptables-restore` reads it at boot. Foreign rules in it are compared and kept, never
/// read for meaning.
package struct SavedRules: Hashable, Sendable {
    package var text: String

    package init(_ text: String) { self.text = text }

    /// What in it is not as `wanted`, as one sentence; nil when it says just that.
    package func fault(wanted: OwnedState) -> String? {
        guard text.utf8.contains(where: { $0 != UInt8(ascii: "\n") && $0 != UInt8(ascii: " ") }) else {
            return "is empty"
        }
        do throws(SaveTextError) {
            let found = differences(of: try OwnedState(parsing: text), from: wanted)
            guard let first = found.first else { return nil }
            return "says something else: \(first)" + (found.count > 1 ? "; and \(found.count - 1) more" : "")
        } catch {
            return "cannot be understood: \(error)"
        }
    }

    /// Whether it holds the same rules as `other`, those of others included: counters, dates, comments and the order of
    /// tables (with legacy, that in which they came into being) are not looked at.
    package func isSame(as other: SavedRules) -> Bool { essence == other.essence }

    /// Lines by table.
    private var essence: [Substring: [Substring]] {
        var table: Substring = ""
        var lines: [Substring: [Substring]] = [:]
        for line in text.split(separator: "\n") where !line.hasPrefix("#") {
            if line.hasPrefix("*") { table = line }
            lines[table, default: []].append(withoutCounters(line))
        }
        return lines
    }

    /// `:INPUT ACCEPT [12:3456]`, `[12:3456] -A …`
    private func withoutCounters(_ line: Substring) -> Substring {
        if line.hasPrefix("["), let end = line.firstIndex(of: " ") { return line[line.index(after: end)...] }
        if line.hasPrefix(":"), let start = line.lastIndex(of: "[") { return line[..<start] }
        return line
    }

    /// Without natfleet's chains and what enters them.
    package var withoutOwn: SavedRules {
        var table: Table?
        let lines = text.split(separator: "\n", omittingEmptySubsequences: false).filter { line in
            if line.hasPrefix("*") { table = Table(rawValue: String(line.dropFirst())) }
            return table == nil || !isOwn(line)
        }
        return SavedRules(lines.joined(separator: "\n"))
    }

    private func isOwn(_ line: Substring) -> Bool {
        guard line.contains(ownedChainPrefix), !line.hasPrefix("#") else { return false }
        // The reader of saved text knows what is ours: a rule is ours when it adds to what that finds.
        let words = line.split(separator: " ")
        if line.hasPrefix(":") { return line.dropFirst().hasPrefix(ownedChainPrefix) }
        guard let command = words.firstIndex(of: "-A"), command + 1 < words.count else { return false }
        if words[command + 1].hasPrefix(ownedChainPrefix) { return true }
        let chain = words[command + 1]
        let alone = "*filter\n:\(chain) - [0:0]\n\(line)\nCOMMIT\n"
        return (try? OwnedState(parsing: alone))?.isEmpty == false
    }
}
