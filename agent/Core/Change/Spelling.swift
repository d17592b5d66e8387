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

    /// Chains of which nobody knows how they are printed, or whether the kernel takes them at all.
    ///
    /// - Parameter actual: what is printed now: what is there in the same words has proven itself.
    func unknown(in meant: OwnedState, actual: OwnedState) -> [Table: Set<String>] {
        var result: [Table: Set<String>] = [:]
        for table in Table.allCases {
            let names = meant[table].chains.filter { name, rules in
                guard actual[table].chains[name] != rules else { return false }
                let hash = Self.hash(name, rules)
                return plain[table]?.contains(hash) != true && others[table]?[name]?.hash != hash
            }
            result[table] = Set(names.keys)
        }
        return result
    }

    /// Keeps how chains are printed that were rehearsed.
    mutating func learn(_ printed: OwnedState, for meant: OwnedState, _ chains: [Table: Set<String>]) {
        for (table, names) in chains {
            for name in names {
                guard let rules = meant[table].chains[name], let found = printed[table].chains[name] else { continue }
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
    /// A family's rules as this host spells them, loaded into a throwaway network namespace as far as that is not known: a
    /// ruleset of up to `wholeUpTo` rules whole, of a larger one the chains that are new (docs/adr/0007).
    func spell(
        _ meant: OwnedState, _ family: IPFamily, actual: OwnedState, _ spelling: inout Spelling
    ) async throws(KernelError) -> OwnedState {
        spelling.keep(meant)
        var chains = spelling.unknown(in: meant, actual: actual)
        guard chains.values.contains(where: { !$0.isEmpty }) else { return spelling.spelled(meant) }
        if meant.ruleCount <= wholeUpTo {
            for table in Table.allCases { chains[table] = Set(meant[table].chains.keys) }
        }
        let part = meant.excerpt(of: chains)
        let printed = try await rehearse(family, renderRestore(part))
        guard printed.hasSameShape(as: part) else {
            throw KernelError(
                "\(family.label): in a throwaway namespace \(family.program)-restore ended well, and "
                    + "\(family.program)-save then showed other rules than were loaded")
        }
        spelling.learn(printed, for: meant, chains)
        return spelling.spelled(meant)
    }
}

/// Loading that many takes less than a tenth of a second.
private let wholeUpTo = 1000

extension OwnedState {
    /// The same chains with as many rules each, and the same jumps: all that can be compared between two spellings.
    func hasSameShape(as other: OwnedState) -> Bool {
        Table.allCases.allSatisfy { table in
            self[table].chains.mapValues(\.count) == other[table].chains.mapValues(\.count)
                && self[table].jumps == other[table].jumps
        }
    }
}
