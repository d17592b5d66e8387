// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: natfleet contributors

/// One input for `iptables-restore --noflush --counters`, of one table: the kernel takes all of it or nothing.
package struct RestoreStep: Hashable, Sendable {
    package var table: Table
    /// From `*table` to `COMMIT`, with the final newline.
    package var text: String

    fileprivate init(_ table: Table, _ lines: [String]) {
        self.table = table
        text = (["*\(table.rawValue)"] + lines + ["COMMIT", ""]).joined(separator: "\n")
    }
}

/// Transactions of one table each, to run one after the other; each must have succeeded before the next one starts.
package struct RestorePlan: Hashable, Sendable {
    package var steps: [RestoreStep]

    package var isEmpty: Bool { steps.isEmpty }

    /// The steps' text for as few runs of iptables-restore as can be: it commits one table after the other and stops at
    /// the first that fails (iptables-restore(8)). No run gets a table twice.
    package var inputs: [String] {
        var inputs: [String] = []
        var held: Set<Table> = []
        for step in steps {
            if held.insert(step.table).inserted, !inputs.isEmpty {
                inputs[inputs.count - 1] += step.text
            } else {
                inputs.append(step.text)
                held = [step.table]
            }
        }
        return inputs
    }
}

/// The way from what the kernel holds to what is wanted, such that at no moment a private source leaves untranslated
/// or a flow that is allowed before and after is refused. Empty when nothing differs.
///
/// Each table is a transaction of its own, so the tables pass through states in between (`Transition`):
/// 1. nat learns the new masquerades and keeps the old ones and the old port forwards;
/// 2. filter accepts the new egress only, old and new port forwards, and keeps old and new guards;
/// 3. nat becomes the wanted one; 4. filter becomes the wanted one.
///
/// So what filter lets out is translated at any time: accepting comes after translating when NAT is turned on and goes
/// before it when NAT is turned off, a port is forwarded only while filter accepts it, and the guard comes first and
/// goes last. Most changes need two of the steps. Chains that stay the same are not mentioned, rules that stay keep
/// their counters (not with ip6tables-nft 1.8.9, which reads counters and drops them).
///
/// - Parameter jumpsFirst: whether jumps that stand below others' rules go back before them.
package func plan(from actual: OwnedState, to desired: OwnedState, jumpsFirst: Bool = false) -> RestorePlan {
    let transition = Transition(from: actual, to: desired)
    let steps = [
        step(.nat, from: actual.nat, to: transition.nat, jumpsFirst: jumpsFirst),
        step(.filter, from: actual.filter, to: transition.filter, jumpsFirst: jumpsFirst),
        step(.nat, from: transition.nat, to: desired.nat),
        step(.filter, from: transition.filter, to: desired.filter),
    ]
    return RestorePlan(steps: steps.compactMap(\.self))
}

/// Puts jumps that stand first back to where they stood before, below others' rules.
///
/// Others may have changed theirs since: no jump comes to stand below a rule that it stood above.
package func planJumpsBack(from actual: OwnedState, to before: OwnedState) -> RestorePlan {
    RestorePlan(
        steps: Table.allCases.compactMap { table in
            let moved = before[table].jumps.compactMap { jump -> (jump: OwnedState.Jump, position: Int)? in
                guard let now = actual[table].jumps.first(where: { $0 == jump && $0.position == 1 }) else { return nil }
                let position = jump.position(among: now.below)
                return position > 1 ? (jump, position) : nil
            }
            guard !moved.isEmpty else { return nil }
            return RestoreStep(table, moved.map(\.jump.deletion) + moved.map { $0.jump.insertion(at: $0.position) })
        })
}

extension OwnedState.Jump {
    /// Where it belongs among others' rules of now: before the first one that it stood above, or as many rules down as it
    /// stood where none of those is left.
    fileprivate func position(among others: [String]) -> Int {
        guard position > 1 else { return 1 }
        var missing: [String: Int] = [:]
        for rule in below { missing[rule, default: 0] += 1 }
        var place = min(position, others.count + 1)
        // From the end: the same rule may stand above it as well.
        for (index, rule) in others.enumerated().reversed() {
            guard let count = missing[rule], count > 0 else { continue }
            missing[rule] = count - 1
            place = index + 1
        }
        return place
    }
}

private func step(
    _ table: Table, from old: OwnedState.Contents, to new: OwnedState.Contents, jumpsFirst: Bool = false
) -> RestoreStep? {
    let changed = new.chains.sorted { $0.key < $1.key }.filter { old.chains[$0.key] != $0.value }
    let removed = old.chains.keys.filter { new.chains[$0] == nil }.sorted()
    let wrong = old.jumps.filter { jump in
        !new.jumps.contains(jump) || old.jumps.count { $0 == jump } > 1 || jumpsFirst && jump.position != 1
    }
    let missing = new.jumps.filter { jump in !old.jumps.contains(jump) || wrong.contains(jump) }

    // Declaring a chain empties it; all before the rules, which may enter one another.
    var lines = changed.map { ":\($0.key) - [0:0]" }
    for (name, rules) in changed {
        lines += carryingCounters(from: old.chains[name] ?? [], to: rules).map(\.restoreText)
    }
    lines += wrong.map(\.deletion)
    lines += missing.map { $0.insertion(at: 1) }
    lines += removed.map { "-F \($0)" } + removed.map { "-X \($0)" }
    guard !lines.isEmpty else { return nil }
    return RestoreStep(table, lines)
}
