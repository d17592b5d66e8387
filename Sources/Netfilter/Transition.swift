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
            chain.hasPrefix(ownedChainPrefix + "PRE") ? old : merge(old, new)
        }
        filter = union(actual.filter, desired.filter) { _, old, new in
            let kept = old.filter { $0.isKeptAccept || $0.isDrop || new.contains($0) }
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
        let lines = combine(name, old.chains[name] ?? [], new.chains[name] ?? [])
        guard !lines.isEmpty || old.chains[name] != nil else { continue }
        result.chains[name] = carryingCounters(from: old.chains[name] ?? [], to: lines)
    }
    // Of a jump that is wanted one is enough; those that are not wanted go with their chain.
    result.jumps = (new.jumps + old.jumps.filter { !new.jumps.contains($0) }).filter { result.chains[$0.to] != nil }
    return result
}

/// The lines of both. Where one has all of the other it is the result, so that nothing is moved without need; else the
/// new ones decide before the old ones, and drops come last.
private func merge(_ old: [OwnedState.Line], _ new: [OwnedState.Line]) -> [OwnedState.Line] {
    if isSubsequence(new, of: old) { return old }
    if isSubsequence(old, of: new) { return new }
    let isNew = Set(new)
    let added = old.filter { !isNew.contains($0) }
    return new.filter { !$0.isDrop } + added.filter { !$0.isDrop } + new.filter(\.isDrop) + added.filter(\.isDrop)
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

    /// Accepts what is safe whatever nat does: replies, and connections that a DNAT of ours has turned round.
    fileprivate var isKeptAccept: Bool {
        text.hasSuffix(" -j ACCEPT") && !text.contains(" ! ")
            && (text.contains(" --ctstate RELATED,ESTABLISHED ") || text.contains(" --ctstate DNAT "))
    }
}
