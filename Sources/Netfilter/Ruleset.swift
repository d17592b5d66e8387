// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: natfleet contributors

package import NetAddress

/// A chain of ours.
package struct Chain: Hashable, Sendable {
    /// At most 28 characters, starting with `ownedChainPrefix`. A chain that another one of ours enters has that one's
    /// name and more, so that rules of two states together never make a circle.
    package var name: String
    package var rules: [Rule]

    package init(name: String, rules: [Rule]) {
        self.name = name
        self.rules = rules
    }
}

/// The rule of a built-in chain that enters one of ours.
package struct Jump: Hashable, Sendable {
    package var from: BuiltInChain
    package var to: String

    package init(from: BuiltInChain, to: String) {
        self.from = from
        self.to = to
    }
}

package struct TableRules: Hashable, Sendable {
    package var chains: [Chain]
    package var jumps: [Jump]

    package init(chains: [Chain] = [], jumps: [Jump] = []) {
        self.chains = chains
        self.jumps = jumps
    }

    /// A chain, the jump into it and the chains that only its rules enter, unless it would be empty.
    package mutating func add(_ name: String, from builtIn: BuiltInChain, rules: [Rule], below: [Chain] = []) {
        guard !rules.isEmpty else { return }
        chains.append(Chain(name: name, rules: rules))
        chains += below
        jumps.append(Jump(from: builtIn, to: name))
    }
}

/// All that is ours in one family.
package struct FamilyRules: Hashable, Sendable {
    package var filter: TableRules
    package var nat: TableRules

    package init(filter: TableRules = TableRules(), nat: TableRules = TableRules()) {
        self.filter = filter
        self.nat = nat
    }

    package subscript(table: Table) -> TableRules {
        switch table {
        case .filter: filter
        case .nat: nat
        }
    }

    package var isEmpty: Bool { filter.chains.isEmpty && nat.chains.isEmpty }
}

/// What one host runs.
package struct Ruleset: Hashable, Sendable {
    package var ipv4: FamilyRules
    package var ipv6: FamilyRules

    package init(ipv4: FamilyRules = FamilyRules(), ipv6: FamilyRules = FamilyRules()) {
        self.ipv4 = ipv4
        self.ipv6 = ipv6
    }

    package subscript(family: IPFamily) -> FamilyRules {
        get {
            switch family {
            case .ipv4: ipv4
            case .ipv6: ipv6
            }
        }
        set {
            switch family {
            case .ipv4: ipv4 = newValue
            case .ipv6: ipv6 = newValue
            }
        }
    }
}
