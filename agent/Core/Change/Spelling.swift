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
