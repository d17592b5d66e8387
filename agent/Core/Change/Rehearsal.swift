// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: natfleet contributors

import NetAddress
import Netfilter

extension Kernel {
    /// A family's rules as this host spells them, loaded whole into a throwaway network namespace unless all of them have been
    /// before.
    func spell(
        _ meant: OwnedState, _ family: IPFamily, actual: OwnedState, _ spelling: inout Spelling
    ) async throws(KernelError) -> OwnedState {
        spelling.keep(meant)
        guard !spelling.knows(meant, actual: actual) else { return spelling.spelled(meant) }
        spelling.learn(try await rehearsal(family, meant).get(), for: meant)
        return spelling.spelled(meant)
    }

    /// What there is, and the rules as this host spells them: both are asked at once where `spelling` does not know the rules
    /// already, so it may rehearse what stands there.
    func lookAndSpell(
        _ meant: OwnedState, _ family: IPFamily, _ spelling: inout Spelling
    ) async throws(KernelError) -> (actual: OwnedState, wanted: OwnedState) {
        spelling.keep(meant)
        guard !spelling.knows(meant, actual: .none) else { return (try await observe(family), spelling.spelled(meant)) }
        async let printed = rehearsal(family, meant)
        let actual = try await observe(family)
        spelling.learn(try await printed.get(), for: meant)
        return (actual, spelling.spelled(meant))
    }

    private func rehearsal(_ family: IPFamily, _ meant: OwnedState) async -> Result<OwnedState, KernelError> {
        do throws(KernelError) {
            let printed = try await rehearse(family, meant)
            guard printed.hasSameShape(as: meant) else {
                throw KernelError(
                    "\(family.label): in a throwaway namespace \(family.program)-restore ended well, and "
                        + "\(family.program)-save then showed other rules than were loaded")
            }
            return .success(printed)
        } catch {
            return .failure(error)
        }
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

/// Rules that are loaded in less time than more programs take to start: on two processors 200 in two namespaces took 10 ms less.
private let togetherUpTo = 50

extension OwnedState {
    /// The same chains with as many rules each, and the same jumps: all that can be compared between two spellings.
    func hasSameShape(as other: OwnedState) -> Bool {
        Table.allCases.allSatisfy { table in
            self[table].chains.mapValues(\.count) == other[table].chains.mapValues(\.count)
                && self[table].jumps == other[table].jumps
        }
    }
}
