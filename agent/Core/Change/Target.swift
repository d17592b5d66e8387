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

    /// Nothing of natfleet's: no rule, and every setting as it was found.
    init() {
        (rules, text, sysctls, forwarding) = ([:], [:], [], [])
    }

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

    /// The rules of both families as they were saved for people.
    ///
    /// - Parameter settings: to leave as they are.
    /// - Throws: where a file is missing or cannot be understood, or there is no rule in either.
    init(saved files: any StateFiles, keeping settings: [SysctlSetting]) throws {
        self.init()
        sysctls = settings.filter {
            !SysctlLedger.forwardingKeys.contains($0.key) && SideEffect.cause(of: $0.key) == nil
        }
        for family in IPFamily.allCases {
            let file: StateFile = family == .ipv4 ? .rulesIPv4 : .rulesIPv6
            guard let bytes = try files.read(file) else { throw StateFileError("there is no \(file.rawValue)") }
            do throws(SaveTextError) {
                rules[family] = try OwnedState(parsing: String(decoding: bytes, as: UTF8.self))
            } catch {
                throw StateFileError("\(file.rawValue) cannot be understood: \(error)")
            }
            text[family] = renderRestore(rules[family] ?? .none)
            if rules[family]?.isEmpty == false { forwarding.append(forwardingSetting(family)) }
        }
        if forwarding.isEmpty { throw StateFileError("no rules were saved") }
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
