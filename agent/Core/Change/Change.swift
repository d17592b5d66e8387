// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: natfleet contributors

import NATPolicy
import NetAddress
import Netfilter

/// A change that was rehearsed and planned and has touched nothing yet.
struct PreparedChange: Sendable {
    /// In this host's spelling.
    let target: Target
    let plans: [IPFamily: RestorePlan]
    let before: Snapshot
    /// Sentences on what the rules lack; sysctls are told by whoever sets them.
    let differences: [String]
    let reading: RulesReading
}

/// What is remembered of a look at the rules.
struct RulesReading: Sendable {
    /// Of the rules that were looked at, or older.
    let mark: RulesMark
    /// Jumps with others' rules above them, a sentence each.
    var displaced: [IPFamily: [String]] = [:]
}

/// The rules as they are, both families.
struct Sighting: Sendable {
    /// Of these, or older.
    let mark: RulesMark
    let rules: [IPFamily: OwnedState]

    static func of(_ kernel: any Kernel) async throws(ChangeFailure) -> Sighting {
        let mark = kernel.rulesMark(contents: true)
        return Sighting(
            mark: mark,
            rules: try await eachFamily { family throws(ChangeFailure) in
                try await attempt { () throws(KernelError) in try await kernel.observe(family) }
            })
    }
}

/// A change that runs and was read back.
struct PerformedChange: Sendable {
    /// Sentences on what differed before; empty when nothing had to be touched.
    let differences: [String]
    /// Of the rules as they were read back.
    let reading: RulesReading
    /// All that the change concerns, as they are now.
    let sysctls: [String: String]
}

/// Changes of the kernel: both families and the sysctls, or nothing (DESIGN §6, *tested*, *applied* and *verified*).
///
/// The families go side by side: they share nothing but the sysctls, which come before and after.
struct Change: Sendable {
    let kernel: any Kernel
    let files: any StateFiles
    /// What earlier changes learned of this host's spelling; kept by whoever makes changes.
    var spelling: [IPFamily: Spelling] = [:]

    /// Looks, rehearses where anything is new, plans.
    ///
    /// - Parameters:
    ///   - isNew: whether the rules are hardly those that stand there, so that rehearsing them need not wait for a look.
    ///   - jumpsFirst: families whose jumps have to stand before others' rules again.
    ///   - seen: what there is, where somebody has just looked.
    mutating func prepare(
        _ meant: Target, isNew: Bool = false, jumpsFirst: Set<IPFamily> = [], seen: Sighting? = nil
    ) async throws(ChangeFailure) -> PreparedChange {
        var target = meant
        let (kernel, spelling) = (kernel, spelling)
        var reading = RulesReading(mark: seen?.mark ?? kernel.rulesMark(contents: true))
        // Both families are rehearsed before either is touched.
        let looks = try await eachFamily { family throws(ChangeFailure) in
            try await attempt { () throws(KernelError) in
                let rules = meant.rules[family] ?? .none
                var learned = spelling[family] ?? Spelling()
                if isNew {
                    let (actual, wanted) = try await kernel.lookAndSpell(rules, family, &learned)
                    return (wanted, actual, learned)
                }
                let actual = if let known = seen?.rules[family] { known } else { try await kernel.observe(family) }
                return (try await kernel.spell(rules, family, actual: actual, &learned), actual, learned)
            }
        }
        var before = Snapshot(rules: [:], sysctls: [:], found: [:])
        var plans: [IPFamily: RestorePlan] = [:]
        var differences: [String] = []
        for family in IPFamily.allCases {
            guard let (wanted, actual, learned) = looks[family] else { continue }
            self.spelling[family] = learned
            target.rules[family] = wanted
            before.rules[family] = actual
            reading.displaced[family] = actual.displacements
            let isFirst = jumpsFirst.contains(family)
            plans[family] = plan(from: actual, to: wanted, jumpsFirst: isFirst)
            differences += Netfilter.differences(of: actual, from: wanted, jumpsFirst: isFirst)
                .map { "\(family.label): \($0)" }
        }
        let ledger = try openLedger()
        before.found = ledger.found
        before.sysctls = try ledger.values(around: target.sysctls + target.forwarding)
        return PreparedChange(
            target: target, plans: plans, before: before, differences: differences, reading: reading)
    }

    /// Carries it out and reads it back; what fails is taken back.
    ///
    func perform(_ change: PreparedChange) async throws(ChangeFailure) -> PerformedChange {
        do throws(ChangeFailure) {
            var ledger = try openLedger()
            let reading = try await touch(change, &ledger)
            return PerformedChange(
                differences: change.differences + ledger.written.map { "sysctl \($0.key) was \($0.before)" },
                reading: reading,
                sysctls: try ledger.values(around: change.target.sysctls + change.target.forwarding))
        } catch {
            var failure = error
            failure.leftovers = await goBack(to: change.before)
            throw failure
        }
    }

    private func touch(
        _ change: PreparedChange, _ ledger: inout SysctlLedger
    ) async throws(ChangeFailure) -> RulesReading {
        let target = change.target
        let surplus = ledger.surplus(target.sysctls + target.forwarding)
        for key in surplus where SysctlLedger.forwardingKeys.contains(key) { try ledger.giveBack(key) }
        try ledger.remember(target.sysctls + target.forwarding)
        for setting in target.sysctls { try ledger.set(setting) }
        let kernel = kernel
        var reading = change.reading
        if change.plans.values.contains(where: { !$0.isEmpty }) {
            _ = try await eachFamily { family throws(ChangeFailure) in
                for input in change.plans[family]?.inputs ?? [] {
                    try await attempt { () throws(KernelError) in try await kernel.restore(family, input) }
                }
            }
            reading = try await verify(target)
        }
        for setting in target.forwarding { try ledger.set(setting) }
        for key in surplus where !SysctlLedger.forwardingKeys.contains(key) { try ledger.giveBack(key) }
        for setting in target.sysctls { try ledger.set(setting) }
        return reading
    }

    private func verify(_ target: Target) async throws(ChangeFailure) -> RulesReading {
        let kernel = kernel
        var reading = RulesReading(mark: kernel.rulesMark(contents: true))
        reading.displaced = try await eachFamily { family throws(ChangeFailure) in
            let actual = try await attempt { () throws(KernelError) in try await kernel.observe(family) }
            let wrong = Netfilter.differences(of: actual, from: target.rules[family] ?? .none)
            if let first = wrong.first {
                let said = actual.isEmpty ? "nothing of natfleet's" : "\(first)"
                throw ChangeFailure(
                    "\(family.label) reads back otherwise than meant: \(family.program)-restore ended well, and "
                        + "\(family.program)-save then showed \(said)")
            }
            return actual.displacements
        }
        return reading
    }

    /// The way back, which may not leak either: forwarding that was off goes off before the rules change, forwarding that was
    /// on comes after what it needs, and only where that was read back.
    ///
    /// - Returns: what could not be taken back, as sentences.
    func goBack(to before: Snapshot) async -> [String] {
        var failures = SysctlLedger.turnForwardingOff(before, kernel)
        var forwardable: Set<IPFamily> = []
        for family in IPFamily.allCases {
            do throws(KernelError) {
                try await putBack(family, before.rules[family] ?? .none)
                forwardable.insert(family)
            } catch {
                failures.append("\(family.label): \(error.description)")
            }
        }
        return failures + SysctlLedger.putBack(before, forwarding: forwardable, kernel, files)
    }

    private func putBack(_ family: IPFamily, _ before: OwnedState) async throws(KernelError) {
        let wanted = before.withoutRepeatedJumps
        var actual = try await kernel.observe(family)
        let inputs = plan(from: actual, to: wanted).inputs
        if !inputs.isEmpty {
            for input in inputs { try await kernel.restore(family, input) }
            actual = try await kernel.observe(family)
            if let wrong = await differences(of: actual, from: wanted, family).first {
                throw KernelError(
                    "\(family.program)-restore ended well, and \(family.program)-save then showed other rules: \(wrong)"
                )
            }
        }
        // Others may change theirs at any time: where that place is gone, the first one is as good.
        for input in planJumpsBack(from: actual, to: wanted).inputs { try? await kernel.restore(family, input) }
    }

    /// What was there may be in the words of programs that were replaced since.
    private func differences(
        of actual: OwnedState, from wanted: OwnedState, _ family: IPFamily
    ) async -> [Difference] {
        let found = Netfilter.differences(of: actual, from: wanted)
        var fresh = Spelling()
        guard !found.isEmpty, let spelled = try? await kernel.spell(wanted, family, actual: .none, &fresh) else {
            return found
        }
        return Netfilter.differences(of: actual, from: spelled)
    }

    private func openLedger() throws(ChangeFailure) -> SysctlLedger {
        do throws(StateFileError) {
            return try SysctlLedger(kernel: kernel, files: files)
        } catch {
            throw ChangeFailure(error.description)
        }
    }
}

extension OwnedState {
    /// `displacedJumps`, a sentence each.
    var displacements: [String] {
        displacedJumps.map { "\($0.from) enters \($0.to) by its rule \($0.position)" }
    }
}

private func attempt<Value>(_ body: () async throws(KernelError) -> Value) async throws(ChangeFailure) -> Value {
    do throws(KernelError) {
        return try await body()
    } catch {
        throw ChangeFailure(error)
    }
}

/// Both families at once.
private func eachFamily<Value: Sendable>(
    _ body: @escaping @Sendable (IPFamily) async throws(ChangeFailure) -> Value
) async throws(ChangeFailure) -> [IPFamily: Value] {
    try await sideBySide(IPFamily.allCases, body)
}
