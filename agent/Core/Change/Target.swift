// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: natfleet contributors

import NATPolicy
import NetAddress
import Netfilter

/// What the kernel should hold.
struct Target: Sendable {
    var rules: [IPFamily: OwnedState]
    /// Set before the rules, and once more after forwarding went on, which resets some.
    var sysctls: [SysctlSetting]
    /// Set last of all.
    var forwarding: [SysctlSetting]

    /// Nothing of natfleet's: no rule, and every setting as it was found.
    init() {
        (rules, sysctls, forwarding) = ([:], [], [])
    }

    init(_ compiled: CompiledPolicy) {
        rules = [:]
        for family in IPFamily.allCases { rules[family] = compiled.ruleset[family].ownedState }
        sysctls = compiled.sysctls
        forwarding = compiled.forwarding
    }

    /// Before the network comes up: without settings that somebody else may want to see to, who has not come yet, unless
    /// natfleet made them before.
    ///
    /// - Parameter found: values before natfleet changed them.
    func beforeTheNetwork(_ found: [String: String]) -> Target {
        var target = self
        target.sysctls.removeAll { setting in
            if case .unless = setting.condition { found[setting.key] == nil } else { false }
        }
        return target
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
            if rules[family]?.isEmpty == false { forwarding.append(forwardingSetting(family)) }
        }
        if forwarding.isEmpty { throw StateFileError("no rules were saved") }
    }
}
