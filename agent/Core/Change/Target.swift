// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: natfleet contributors

import NATPolicy
import NetAddress
import Netfilter

/// What the kernel should hold.
struct Target: Sendable {
    var rules: [IPFamily: OwnedState]
    var text: [IPFamily: String]
    /// Set before the rules, and once more after forwarding went on, which resets some.
    var sysctls: [SysctlSetting]
    /// Set last of all.
    var forwarding: [SysctlSetting]

    init(_ compiled: CompiledPolicy) {
        rules = [:]
        text = [:]
        for family in IPFamily.allCases {
            rules[family] = compiled.ruleset[family].ownedState
            text[family] = renderRestore(rules[family] ?? .none)
        }
        sysctls = compiled.sysctls
        forwarding = compiled.forwarding
    }
}

/// How this host's iptables spells the rulesets that it rehearsed last.
struct Spelling: Sendable {
    var known: [IPFamily: (text: String, rules: OwnedState)] = [:]
}

extension OwnedState {
    /// The same chains with as many rules each, and the same jumps: all that can be compared between two spellings.
    func hasSameShape(as other: OwnedState) -> Bool {
        Table.allCases.allSatisfy { table in
            self[table].chains.mapValues(\.count) == other[table].chains.mapValues(\.count)
                && self[table].jumps == other[table].jumps
        }
    }
}
