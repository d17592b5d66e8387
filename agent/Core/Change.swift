// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: natfleet contributors

import FleetModel
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
            text[family] = renderRestore(compiled.ruleset[family])
        }
        sysctls = compiled.sysctls
        forwarding = compiled.forwarding
    }
}

/// One change of the kernel: both families and the sysctls, or nothing (DESIGN §6, *applied* and *verified*).
struct Change: Sendable {
    let kernel: any Kernel
    let files: any StateFiles
    /// What earlier changes learned of this host's spelling; kept by whoever makes changes.
    var spelling = Spelling()

    /// - Returns: sentences on what differed before, empty when nothing had to be touched.
    mutating func run(_ meant: Target) async throws(ChangeFailure) -> [String] {
        var target = meant
        var before: [IPFamily: OwnedState] = [:]
        var plans: [IPFamily: RestorePlan] = [:]
        var differences: [String] = []
        // Both families are rehearsed before either is touched.
        for family in IPFamily.allCases { target.rules[family] = try await spell(meant, family) }
        for family in IPFamily.allCases {
            let actual = try await attempt { () throws(KernelError) in try await kernel.observe(family) }
            let wanted = target.rules[family] ?? .none
            before[family] = actual
            plans[family] = plan(from: actual, to: wanted)
            differences += Netfilter.differences(of: actual, from: wanted).map { "\(family.label): \($0)" }
        }
        var ledger = try openLedger()
        let foundBefore = ledger.found
        do throws(ChangeFailure) {
            try await touch(target, plans, &ledger)
            return differences + ledger.written.map { "sysctl \($0.key) was \($0.before)" }
        } catch {
            var failure = error
            failure.leftovers = await takeBack(before, &ledger, foundBefore)
            throw failure
        }
    }

    /// The rules as this host spells them; rehearsed once for each text.
    private mutating func spell(_ target: Target, _ family: IPFamily) async throws(ChangeFailure) -> OwnedState {
        let meant = target.rules[family] ?? .none
        let text = target.text[family] ?? ""
        if let known = spelling.known[family], known.text == text { return known.rules }
        let spelled = try await attempt { () throws(KernelError) in try await kernel.rehearse(family, text) }
        guard spelled.hasSameShape(as: meant) else {
            throw ChangeFailure("\(family.label): a throwaway namespace holds other rules than were loaded into it")
        }
        spelling.known[family] = (text, spelled)
        return spelled
    }

    private func touch(
        _ target: Target, _ plans: [IPFamily: RestorePlan], _ ledger: inout SysctlLedger
    ) async throws(ChangeFailure) {
        let surplus = ledger.surplus(target.sysctls + target.forwarding)
        for key in surplus where SysctlLedger.forwardingKeys.contains(key) { try ledger.giveBack(key) }
        for setting in target.sysctls { try ledger.set(setting) }
        for family in IPFamily.allCases {
            for step in plans[family]?.steps ?? [] {
                try await attempt { () throws(KernelError) in try await kernel.restore(family, step) }
            }
        }
        try await verify(target)
        for setting in target.forwarding { try ledger.set(setting) }
        for key in surplus where !SysctlLedger.forwardingKeys.contains(key) { try ledger.giveBack(key) }
        for setting in target.sysctls { try ledger.set(setting) }
    }

    private func verify(_ target: Target) async throws(ChangeFailure) {
        for family in IPFamily.allCases {
            let actual = try await attempt { () throws(KernelError) in try await kernel.observe(family) }
            let wrong = Netfilter.differences(of: actual, from: target.rules[family] ?? .none)
            if let first = wrong.first {
                throw ChangeFailure("\(family.label) reads back otherwise than meant: \(first)")
            }
        }
    }

    /// The way back, which may not leak either: forwarding goes off before the rules change and on after them.
    ///
    /// - Returns: what could not be taken back, as sentences.
    private func takeBack(
        _ before: [IPFamily: OwnedState], _ ledger: inout SysctlLedger, _ foundBefore: [String: String]
    ) async -> [String] {
        var failures = ledger.undoForwardingOn()
        for family in IPFamily.allCases {
            do throws(KernelError) {
                let actual = try await kernel.observe(family)
                for step in plan(from: actual, to: before[family] ?? .none).steps {
                    try await kernel.restore(family, step)
                }
            } catch {
                failures.append("\(family.label): \(error.description)")
            }
        }
        return failures + ledger.undoRest(foundBefore)
    }

    private func openLedger() throws(ChangeFailure) -> SysctlLedger {
        do throws(StateFileError) {
            return try SysctlLedger(kernel: kernel, files: files)
        } catch {
            throw ChangeFailure(error.description)
        }
    }

    private func attempt<Value>(
        _ body: () async throws(KernelError) -> Value
    ) async throws(ChangeFailure) -> Value {
        do throws(KernelError) {
            return try await body()
        } catch {
            throw ChangeFailure(error.description)
        }
    }
}

/// How this host's iptables spells the rulesets that it rehearsed last.
struct Spelling: Sendable {
    var known: [IPFamily: (text: String, rules: OwnedState)] = [:]
}

extension OwnedState {
    /// The same chains with as many rules each, and the same jumps: all that can be compared between two spellings.
    fileprivate func hasSameShape(as other: OwnedState) -> Bool {
        Table.allCases.allSatisfy { table in
            self[table].chains.mapValues(\.count) == other[table].chains.mapValues(\.count)
                && self[table].jumps == other[table].jumps
        }
    }
}
