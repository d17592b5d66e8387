// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: natfleet contributors

/// The difference of two texts as `diff -u` prints it; empty when they are equal.
func lineDiff(_ old: String, _ new: String, oldName: String, newName: String, colour: Bool) -> String {
    let oldLines = old.split(separator: "\n", omittingEmptySubsequences: false).dropLast()
    let newLines = new.split(separator: "\n", omittingEmptySubsequences: false).dropLast()
    let edits = edits(Array(oldLines), Array(newLines))
    guard edits.contains(where: { $0.kind != " " }) else { return "" }
    let hunks = hunks(edits).map { hunk in
        let lines = edits[hunk]
        let before = edits[..<hunk.lowerBound]
        let sides = [("-", "+"), ("+", "-")].map { kind, other -> String in
            let start = before.count { $0.kind != Character(other) }
            let length = lines.count { $0.kind != Character(other) }
            return "\(kind)\(length == 0 ? start : start + 1)\(length == 1 ? "" : ",\(length)")"
        }
        return "@@ \(sides.joined(separator: " ")) @@\n" + lines.map { $0.text(colour: colour) }.joined()
    }
    return "--- \(printable(oldName))\n+++ \(printable(newName))\n" + hunks.joined()
}

private struct Edit {
    /// `-`, `+`, or a blank for what stays.
    let kind: Character
    let line: Substring

    func text(colour: Bool) -> String {
        let style: Cell.Style = kind == "-" ? .bad : kind == "+" ? .good : .plain
        return Cell("\(kind)\(line)", style).rendered(width: 0, colour: colour) + "\n"
    }
}

private func edits(_ old: [Substring], _ new: [Substring]) -> [Edit] {
    let head = zip(old, new).prefix { $0 == $1 }.count
    let tail = zip(old.dropFirst(head).reversed(), new.dropFirst(head).reversed()).prefix { $0 == $1 }.count
    let (left, right) = (Array(old[head..<old.count - tail]), Array(new[head..<new.count - tail]))
    var middle: [Edit] = []
    // Myers' algorithm takes lines times differences: texts that have little in common are shown whole.
    if left.count * right.count > 4_000_000 {
        middle = left.map { Edit(kind: "-", line: $0) } + right.map { Edit(kind: "+", line: $0) }
    } else {
        let difference = right.difference(from: left)
        var removed: Set<Int> = []
        var inserted: Set<Int> = []
        for change in difference {
            switch change {
            case .remove(let offset, _, _): removed.insert(offset)
            case .insert(let offset, _, _): inserted.insert(offset)
            }
        }
        var (i, j) = (0, 0)
        while i < left.count || j < right.count {
            if removed.contains(i) {
                middle.append(Edit(kind: "-", line: left[i]))
                i += 1
            } else if inserted.contains(j) {
                middle.append(Edit(kind: "+", line: right[j]))
                j += 1
            } else {
                middle.append(Edit(kind: " ", line: left[i]))
                (i, j) = (i + 1, j + 1)
            }
        }
    }
    let same = { (lines: ArraySlice<Substring>) in lines.map { Edit(kind: " ", line: $0) } }
    return same(old[..<head]) + middle + same(old[(old.count - tail)...])
}

/// Changes with three lines around them; what is nearer than that is one.
private func hunks(_ edits: [Edit]) -> [Range<Int>] {
    var hunks: [Range<Int>] = []
    for index in edits.indices where edits[index].kind != " " {
        let range = max(0, index - 3)..<min(edits.count, index + 4)
        if let last = hunks.last, last.upperBound >= range.lowerBound {
            hunks[hunks.count - 1] = last.lowerBound..<range.upperBound
        } else {
            hunks.append(range)
        }
    }
    return hunks
}
