// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: natfleet contributors

/// The states that the tables pass through between two rulesets; `plan` says in which order.
struct Transition {
    /// Between the first and the second change of each table.
    let nat: OwnedState.Contents
    let filter: OwnedState.Contents

    init(from actual: OwnedState, to desired: OwnedState) {
        nat = union(actual.nat, desired.nat) { chain, old, new in
            // DNAT has one answer for a port, so it cannot be both the old and the new one.
            chain.hasPrefix(ownedChainPrefix + "PRE") ? old : merge(old.filter { !$0.enters(above: chain) }, new)
        }
        filter = union(actual.filter, desired.filter) { chain, old, new in
            let isNew = Set(new)
            let kept = old.filter { line in
                isNew.contains(line) || line.isDrop || line.isKeptAccept && !line.enters(above: chain)
            }
            return merge(kept, new)
        }
    }
}

/// Chains and jumps of both; what is in a chain is up to `combine`.
private func union(
    _ old: OwnedState.Contents,
    _ new: OwnedState.Contents,
    combine: (_ chain: String, _ old: [OwnedState.Line], _ new: [OwnedState.Line]) -> [OwnedState.Line]
) -> OwnedState.Contents {
    var result = OwnedState.Contents()
    for name in Set(old.chains.keys).union(new.chains.keys) {
        let (before, after) = (old.chains[name], new.chains[name])
        if let before, before == after {
            result.chains[name] = before
            continue
        }
        let lines = combine(name, before ?? [], after ?? [])
        guard !lines.isEmpty || before != nil else { continue }
        result.chains[name] = carryingCounters(from: before ?? [], to: lines)
    }
    // Of a jump that is wanted one is enough; those that are not wanted go with their chain.
    result.jumps = (new.jumps + old.jumps.filter { !new.jumps.contains($0) }).filter { result.chains[$0.to] != nil }
    return result
}

/// The lines of both. Where one has all of the other it is the result, so that nothing is moved without need; else the
/// new ones decide before the old ones. Gotos come after all that decide for themselves, since nothing comes back from
/// them, and drops come last.
private func merge(_ old: [OwnedState.Line], _ new: [OwnedState.Line]) -> [OwnedState.Line] {
    if isSubsequence(new, of: old) { return old }
    if isSubsequence(old, of: new) { return new }
    let isNew = Set(new)
    let lines = new + old.filter { !isNew.contains($0) }
    return lines.filter { !$0.isGoTo && !$0.isDrop } + lines.filter(\.isGoTo) + lines.filter(\.isDrop)
}

private func isSubsequence(_ part: [OwnedState.Line], of whole: [OwnedState.Line]) -> Bool {
    var rest = part[...]
    for line in whole where line == rest.first { rest = rest.dropFirst() }
    return rest.isEmpty
}

/// `lines` with the counters that equal lines have in `old`.
func carryingCounters(from old: [OwnedState.Line], to lines: [OwnedState.Line]) -> [OwnedState.Line] {
    var known: [String: [OwnedState.Counters]] = [:]
    for line in old.reversed() {
        if let counters = line.counters { known[line.text, default: []].append(counters) }
    }
    return lines.map { line in
        OwnedState.Line(line.text, counters: known[line.text]?.popLast() ?? line.counters)
    }
}

extension OwnedState.Line {
    fileprivate var isDrop: Bool { text.hasSuffix(" -j DROP") }

    /// Into a chain of ours.
    fileprivate var isGoTo: Bool { entry.map { $0.option == "-g" } ?? false }

    /// Whether it leads into a chain of ours that is not below `chain`: never written by us, and together with new rules
    /// it could make a circle, which the kernel refuses.
    fileprivate func enters(above chain: String) -> Bool {
        entry.map { $0.chain == chain || !$0.chain.hasPrefix(chain) } ?? false
    }

    /// The chain of ours that it leads into.
    var enteredChain: String? { entry.map { String($0.chain) } }

    /// Accepts what is safe whatever nat does: replies, and connections that a DNAT of ours has turned round; or leads
    /// the latter to where that is decided.
    fileprivate var isKeptAccept: Bool {
        let isAccept = text.hasSuffix(" -j ACCEPT")
        guard isAccept || entry != nil else { return false }
        // No comment of ours holds a space, so these words are what they look like.
        let words = text.utf8.split(separator: UInt8(ascii: " ")).map { Substring($0) }
        guard !words.contains("!"), let option = words.firstIndex(of: "--ctstate"), option + 1 < words.count else {
            return false
        }
        return words[option + 1] == "DNAT" || isAccept && words[option + 1] == "RELATED,ESTABLISHED"
    }

    /// How it enters a chain of ours.
    private var entry: (option: Substring, chain: Substring)? {
        let words = text.utf8
        guard let space = words.lastIndex(of: UInt8(ascii: " ")) else { return nil }
        let chain = text[words.index(after: space)...]
        guard chain.hasPrefix(ownedChainPrefix) else { return nil }
        let option = text[..<space].suffix(2)
        return option == "-j" || option == "-g" ? (option, chain) : nil
    }
}
