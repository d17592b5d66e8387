// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: natfleet contributors

/// One thing in which the kernel is not what was meant.
package enum Difference: Hashable, Sendable {
    case missingChain(Table, String)
    case extraChain(Table, String)
    /// `number` counts from 1; `have` is nil where the rule is missing, `want` where it is one too many.
    case rule(Table, chain: String, number: Int, have: String?, want: String?)
    case missingJump(Table, from: String, to: String)
    case repeatedJump(Table, from: String, to: String, count: Int)
    /// Others' rules stand above our jump: a difference only where it is asked for.
    case displacedJump(Table, from: String, to: String, above: Int)
    /// A rule outside our chains that enters one of them in another way than ours does.
    case extraJump(Table, line: String)
}

extension Difference: CustomStringConvertible {
    package var description: String {
        switch self {
        case .missingChain(let table, let chain): "\(table.rawValue): chain \(chain) is missing"
        case .extraChain(let table, let chain): "\(table.rawValue): chain \(chain) should not be there"
        case .rule(let table, let chain, let number, let have, let want):
            "\(table.rawValue): \(chain) rule \(number): have \(have ?? "none"), want \(want ?? "none")"
        case .missingJump(let table, let from, let to): "\(table.rawValue): \(from) does not enter \(to)"
        case .repeatedJump(let table, let from, let to, let count):
            "\(table.rawValue): \(from) enters \(to) \(count) times"
        case .displacedJump(let table, let from, let to, let above):
            "\(table.rawValue): \(from) has \(above) other rule\(above == 1 ? "" : "s") before it enters \(to)"
        case .extraJump(let table, let line): "\(table.rawValue): rule should not be there: \(line)"
        }
    }
}

/// In what `actual` is not `desired`, tables and chains in order; empty exactly when the two are equal.
///
/// - Parameter jumpsFirst: whether our jumps have to be the first rules of their chains.
package func differences(
    of actual: OwnedState, from desired: OwnedState, jumpsFirst: Bool = false
) -> [Difference] {
    Table.allCases.flatMap { table in
        differences(of: actual[table], from: desired[table], in: table)
            + (jumpsFirst ? displacements(of: actual[table], from: desired[table], in: table) : [])
    }
}

/// Jumps that are wanted, there once, and not the first rule of their chain.
private func displacements(
    of actual: OwnedState.Contents, from desired: OwnedState.Contents, in table: Table
) -> [Difference] {
    actual.jumps.filter { jump in
        jump.position != 1 && desired.jumps.contains(jump) && actual.jumps.count { $0 == jump } == 1
    }.map { .displacedJump(table, from: $0.from, to: $0.to, above: $0.position - 1) }
}

private func differences(
    of actual: OwnedState.Contents,
    from desired: OwnedState.Contents,
    in table: Table
) -> [Difference] {
    var found: [Difference] = []
    for chain in Set(actual.chains.keys).union(desired.chains.keys).sorted() {
        switch (actual.chains[chain], desired.chains[chain]) {
        case (nil, _): found.append(.missingChain(table, chain))
        case (_, nil): found.append(.extraChain(table, chain))
        case (let have?, let want?):
            for index in 0..<max(have.count, want.count) {
                let haveText = index < have.count ? have[index].text : nil
                let wantText = index < want.count ? want[index].text : nil
                guard haveText != wantText else { continue }
                found.append(.rule(table, chain: chain, number: index + 1, have: haveText, want: wantText))
            }
        }
    }
    for jump in desired.jumps {
        let count = actual.jumps.count { $0 == jump }
        if count == 0 { found.append(.missingJump(table, from: jump.from, to: jump.to)) }
        if count > 1 { found.append(.repeatedJump(table, from: jump.from, to: jump.to, count: count)) }
    }
    for jump in actual.jumps where !desired.jumps.contains(jump) {
        found.append(.extraJump(table, line: jump.line))
    }
    return found
}
