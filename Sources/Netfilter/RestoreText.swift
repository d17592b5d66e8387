// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: natfleet contributors

/// How the jumps of a restore text enter the built-in chains.
package enum JumpPlacement: Sendable {
    /// After what is there, as `iptables-save` prints them.
    case last
    /// Before what is there: for a file that is loaded with `--noflush` beside foreign rules.
    case first
    /// Where they stand, with others' rules below them: to be read again, not for a program, which would add these.
    case kept
}

/// Both tables as one input for `iptables-restore` or `ip6tables-restore`. Built-in chains are not declared, which
/// would set their policy. Empty state, empty text.
package func renderRestore(_ state: OwnedState, jumps placement: JumpPlacement = .last) -> String {
    Table.allCases.filter { !state[$0].isEmpty }.map { table in
        let contents = state[table]
        let chains = contents.chains.sorted { $0.key < $1.key }
        var lines = ["*\(table.rawValue)"]
        lines += chains.map { ":\($0.key) - [0:0]" }
        lines += contents.jumps.flatMap { jump in
            switch placement {
            case .last: [jump.line]
            case .first: [jump.insertion(at: 1)]
            case .kept: [jump.insertion(at: jump.position)] + jump.below
            }
        }
        lines += chains.flatMap { $0.value.map(\.restoreText) }
        return (lines + ["COMMIT", ""]).joined(separator: "\n")
    }.joined()
}

/// The rules as one input for `iptables-restore` or `ip6tables-restore`.
package func renderRestore(_ rules: FamilyRules, jumps placement: JumpPlacement = .last) -> String {
    renderRestore(rules.ownedState, jumps: placement)
}

extension OwnedState.Line {
    /// The rule with its counters, which `--counters` takes over.
    var restoreText: String {
        guard let counters else { return text }
        return "[\(counters.packets):\(counters.bytes)] \(text)"
    }
}

extension OwnedState.Jump {
    func insertion(at position: Int) -> String { "-I \(from) \(position)\(line.dropFirst("-A \(from)".count))" }

    var deletion: String { "-D\(line.dropFirst("-A".count))" }
}
