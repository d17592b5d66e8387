// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: natfleet contributors

extension OwnedState {
    package var ruleCount: Int {
        Table.allCases.reduce(0) { $0 + self[$1].chains.values.reduce(0) { $0 + $1.count } }
    }

    /// Some of the chains whole, and what the kernel needs to judge them: the ways that lead to them from the built-in
    /// chains, by which it knows the hooks that they are run at, and the chains that they lead to, empty.
    package func excerpt(of chains: [Table: Set<String>]) -> OwnedState {
        var result = OwnedState.none
        for (table, names) in chains where !names.isEmpty { result[table] = self[table].excerpt(of: names) }
        return result
    }
}

extension OwnedState.Contents {
    fileprivate func excerpt(of names: Set<String>) -> Self {
        var result = Self()
        var entered: Set<String> = []
        for name in names {
            let lines = chains[name] ?? []
            result.chains[name] = lines
            entered.formUnion(lines.compactMap(\.enteredChain))
        }
        // A chain that another one enters has that one's name and more.
        let above = chains.keys.filter { name in !names.contains(name) && names.contains { $0.hasPrefix(name) } }
        for name in above { result.chains[name] = [] }
        for name in above {
            result.chains[name] = chains[name]?.filter { $0.enteredChain.map { result.chains[$0] != nil } ?? false }
        }
        for name in entered where result.chains[name] == nil { result.chains[name] = [] }
        result.jumps = jumps.filter { result.chains[$0.to] != nil }
        return result
    }
}
