// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: natfleet contributors

import NetAddress
import Netfilter

/// How this host's iptables prints the chains that it was given, which differs between versions (docs/adr/0003); of one family.
///
/// Small where it prints what it was given, as the versions do that this was written against.
struct Spelling: Sendable {
    private struct Chain {
        /// Of the rules as they were meant.
        let hash: Int
        let printed: [OwnedState.Line]
    }

    /// Hashes of chains, with their names, that are printed as they were meant: of ten thousand port forwards there are many.
    private var plain: [Table: Set<Int>] = [:]
    /// Chains that are printed otherwise.
    private var others: [Table: [String: Chain]] = [:]

    /// Whether it is known of each chain how it is printed, and that the kernel takes it.
    ///
    /// - Parameter actual: what is printed now: what is there in the same words has proven itself, and is known from now on.
    mutating func knows(_ meant: OwnedState, actual: OwnedState) -> Bool {
        var isKnown = true
        for table in Table.allCases {
            for (name, rules) in meant[table].chains {
                let hash = Self.hash(name, rules)
                if actual[table].chains[name] == rules {
                    plain[table, default: []].insert(hash)
                    others[table]?[name] = nil
                } else if plain[table]?.contains(hash) != true && others[table]?[name]?.hash != hash {
                    isKnown = false
                }
            }
        }
        return isKnown
    }

    /// Keeps how all of it is printed.
    mutating func learn(_ printed: OwnedState, for meant: OwnedState) {
        for table in Table.allCases {
            for (name, rules) in meant[table].chains {
                guard let found = printed[table].chains[name] else { continue }
                let hash = Self.hash(name, rules)
                if found == rules {
                    plain[table, default: []].insert(hash)
                    others[table]?[name] = nil
                } else {
                    others[table, default: [:]][name] = Chain(hash: hash, printed: found)
                }
            }
        }
    }

    /// What is meant in the words of this host.
    func spelled(_ meant: OwnedState) -> OwnedState {
        var result = meant
        for (table, chains) in others {
            for (name, chain) in chains {
                guard let rules = meant[table].chains[name], Self.hash(name, rules) == chain.hash else { continue }
                result[table].chains[name] = chain.printed
            }
        }
        return result
    }

    /// Forgets chains that are not there any more.
    mutating func keep(_ meant: OwnedState) {
        for table in Table.allCases {
            let chains = meant[table].chains
            others[table] = others[table]?.filter { chains[$0.key] != nil }
            // A few of before do no harm.
            guard let known = plain[table], known.count > chains.count + 16 else { continue }
            plain[table] = known.intersection(chains.map { Self.hash($0.key, $0.value) })
        }
    }

    private static func hash(_ name: String, _ rules: [OwnedState.Line]) -> Int {
        var hasher = Hasher()
        hasher.combine(name)
        hasher.combine(rules)
        return hasher.finalize()
    }
}

extension Kernel {
    /// A family's rules as this host spells them, loaded whole into a throwaway network namespace unless all of them have been
    /// before.
    func spell(
        _ meant: OwnedState, _ family: IPFamily, actual: OwnedState, _ spelling: inout Spelling
    ) async throws(KernelError) -> OwnedState {
        spelling.keep(meant)
        guard !spelling.knows(meant, actual: actual) else { return spelling.spelled(meant) }
        let printed = try await rehearse(family, meant)
        guard printed.hasSameShape(as: meant) else {
            throw KernelError(
                "\(family.label): in a throwaway namespace \(family.program)-restore ended well, and "
                    + "\(family.program)-save then showed other rules than were loaded")
        }
        spelling.learn(printed, for: meant)
        return spelling.spelled(meant)
    }

    /// The tables of a large ruleset go side by side, each in a namespace of its own: no rule of one knows of the other.
    private func rehearse(_ family: IPFamily, _ meant: OwnedState) async throws(KernelError) -> OwnedState {
        guard meant.ruleCount > togetherUpTo else { return try await rehearse(family, renderRestore(meant)) }
        let printed = try await sideBySide(Table.allCases) { table throws(KernelError) in
            var part = OwnedState.none
            part[table] = meant[table]
            return try await self.rehearse(family, renderRestore(part))
        }
        var whole = OwnedState.none
        for (table, part) in printed { whole[table] = part[table] }
        return whole
    }
}

/// Loading that many takes less time than starting more programs.
private let togetherUpTo = 1000

extension OwnedState {
    /// The same chains with as many rules each, and the same jumps: all that can be compared between two spellings.
    func hasSameShape(as other: OwnedState) -> Bool {
        Table.allCases.allSatisfy { table in
            self[table].chains.mapValues(\.count) == other[table].chains.mapValues(\.count)
                && self[table].jumps == other[table].jumps
        }
    }
}
