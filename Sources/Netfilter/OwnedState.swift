// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: natfleet contributors

/// What is ours in one family of one machine, as lines of text.
///
/// Two states are equal when chains, rules and jumps are; counters, and where among foreign rules a jump stands, are
/// not compared.
package struct OwnedState: Hashable, Sendable {
    package struct Counters: Hashable, Sendable {
        package var packets: UInt64
        package var bytes: UInt64

        package init(packets: UInt64, bytes: UInt64) {
            self.packets = packets
            self.bytes = bytes
        }
    }

    /// A rule of a chain of ours.
    package struct Line: Sendable {
        /// `-A CHAIN …`, as `iptables-save` prints it without counters.
        package var text: String
        /// nil where the source of this state tells none.
        package var counters: Counters?

        package init(_ text: String, counters: Counters? = nil) {
            self.text = text
            self.counters = counters
        }
    }

    /// A rule outside our chains that enters one of them.
    package struct Jump: Sendable {
        package var from: String
        package var to: String
        /// Among all rules of `from`, foreign ones included; 1 is the first.
        package var position: Int
        /// `-A FROM … -j TO`.
        package var line: String
        /// Others' rules of `from` that stand below it, `-A FROM …` in their order.
        package var below: [String] = []

        package init(from: String, to: String, position: Int, line: String) {
            self.from = from
            self.to = to
            self.position = position
            self.line = line
        }
    }

    package struct Contents: Hashable, Sendable {
        package var chains: [String: [Line]]
        /// Ordered by `from`, `to` and position.
        package var jumps: [Jump] {
            didSet { jumps.sort() }
        }

        package init(chains: [String: [Line]] = [:], jumps: [Jump] = []) {
            self.chains = chains
            self.jumps = jumps.sorted()
        }

        package var isEmpty: Bool { chains.isEmpty && jumps.isEmpty }
    }

    package var filter: Contents
    package var nat: Contents

    /// Nothing of ours.
    package static let none = OwnedState()

    package init(filter: Contents = Contents(), nat: Contents = Contents()) {
        self.filter = filter
        self.nat = nat
    }

    package subscript(table: Table) -> Contents {
        get {
            switch table {
            case .filter: filter
            case .nat: nat
            }
        }
        set {
            switch table {
            case .filter: filter = newValue
            case .nat: nat = newValue
            }
        }
    }

    package var isEmpty: Bool { filter.isEmpty && nat.isEmpty }

    package var ruleCount: Int {
        Table.allCases.reduce(0) { $0 + self[$1].chains.values.reduce(0) { $0 + $1.count } }
    }

    /// Of a jump that is there twice the first one.
    package var withoutRepeatedJumps: OwnedState {
        var state = self
        for table in Table.allCases {
            state[table].jumps = state[table].jumps.reduce(into: []) { if !$0.contains($1) { $0.append($1) } }
        }
        return state
    }

    /// Jumps with other rules above them. No fault in itself: others may insert above ours at any time.
    package var displacedJumps: [Jump] { (filter.jumps + nat.jumps).filter { $0.position != 1 } }
}

extension OwnedState.Line: Hashable {
    package static func == (left: Self, right: Self) -> Bool { left.text == right.text }

    package func hash(into hasher: inout Hasher) { hasher.combine(text) }
}

extension OwnedState.Jump: Hashable, Comparable {
    package static func == (left: Self, right: Self) -> Bool { left.line == right.line }

    package static func < (left: Self, right: Self) -> Bool {
        (left.from, left.to, left.position) < (right.from, right.to, right.position)
    }

    package func hash(into hasher: inout Hasher) { hasher.combine(line) }
}

extension FamilyRules {
    /// What the kernel holds when these rules and nothing else were loaded.
    package var ownedState: OwnedState {
        OwnedState(filter: filter.contents, nat: nat.contents)
    }
}

extension TableRules {
    fileprivate var contents: OwnedState.Contents {
        var contents = OwnedState.Contents()
        for chain in chains {
            contents.chains[word(chain.name)] = chain.rules.map { OwnedState.Line($0.line(in: chain.name)) }
        }
        contents.jumps = jumps.map {
            OwnedState.Jump(from: $0.from.rawValue, to: word($0.to), position: 1, line: $0.line)
        }
        return contents
    }
}
