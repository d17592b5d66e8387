// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: natfleet contributors

import FleetAPI
import FleetModel
import Logging
import NATPolicy
import NetAddress
import Netfilter

/// What was confirmed survives a reboot.
extension Reconciler {
    /// Saved files are read again after this long, in seconds; nothing tells when they change.
    static let diskPeriod = 3600.0

    /// - Parameters:
    ///   - rules: as this host spells them.
    ///   - isNew: false to look only whether the disk still says so, and save again where it does not.
    func persist(
        _ compiled: CompiledPolicy, _ rules: [IPFamily: OwnedState], _ conntrack: ConntrackSize?, isNew: Bool = true
    ) async {
        var found: [Condition] = []
        if isNew { found += keepOwnFiles(compiled) }
        isPersisted = found.isEmpty
        if let persistence = machinery.persistence {
            let wanted = PersistentState(
                rules: rules, sysctls: compiled.sysctls,
                found: (try? files.load([String: String].self, .sysctls)) ?? [:],
                conntrack: conntrack)
            var report = isNew ? await persistence.save(wanted) : await persistence.check(wanted)
            if !isNew, !report.isPersisted { report = await persistence.save(wanted) }
            if status.persistence != report.method.description {
                status.persistence = report.method.description
                log.notice("rules are kept over reboots", metadata: ["by": "\(report.method)"])
            }
            for note in report.notes { log.info("\(note)") }
            found += report.conditions
            isPersisted = isPersisted && report.isPersisted
        }
        if !isPersisted, troubles[.disk] != found {
            log.error("not persisted", metadata: ["reason": "\(found.map(\.message).joined(separator: "; "))"])
        }
        troubles[.disk] = found
        diskCheckedAt = clock()
    }

    /// natfleet's own record, from which it starts without a controller; with it the way back is forgotten.
    private func keepOwnFiles(_ compiled: CompiledPolicy) -> [Condition] {
        guard let applied else { return [] }
        do throws(StateFileError) {
            try files.write(.rulesIPv4, Array(renderRestore(compiled.ruleset[.ipv4]).utf8))
            try files.write(.rulesIPv6, Array(renderRestore(compiled.ruleset[.ipv6]).utf8))
            try files.save(applied, .applied)
            machinery.reach("forget")
            arrears.insert(.trial)
            if refusal == nil { arrears.insert(.refusal) }
            try settleArrears()
            return []
        } catch {
            return [Condition(.notPersisted, "the state folder cannot be written: \(error.description)")]
        }
    }

    /// Puts on disk what became of a trial: an agent that starts anew must neither take back nor try again what is over.
    /// - Parameter owed: `trial` to remove it, `refusal` to write it, or to remove it where nothing is refused.
    func owe(_ owed: StateFile...) {
        arrears.formUnion(owed)
        payArrears()
    }

    /// What a disk that is full or read-only did not take is tried again with each look.
    func payArrears() {
        guard !arrears.isEmpty else {
            troubles[.arrears] = nil
            return
        }
        do throws(StateFileError) {
            try settleArrears()
        } catch {
            let found = Condition(.notPersisted, "the state folder cannot be written: \(error.description)")
            if troubles[.arrears] != [found] { log.error("\(found.message)") }
            troubles[.arrears] = [found]
        }
    }

    /// The trial goes last: as long as it is there, the next agent comes to the same end.
    private func settleArrears() throws(StateFileError) {
        if arrears.contains(.refusal) {
            if let refusal { try files.save(refusal, .refusal) } else { try files.remove(.refusal) }
            arrears.remove(.refusal)
        }
        if arrears.contains(.trial) {
            try files.remove(.trial)
            arrears.remove(.trial)
        }
        troubles[.arrears] = nil
    }

    /// Sizes connection tracking; what it says is a condition, never a reason to stop.
    func size(_ policy: EffectivePolicy) -> ConntrackSize? {
        let result = ConntrackSizing(kernel: kernel, files: files, memoryKiB: machinery.memoryKiB).apply(policy)
        troubles[.size] = result.condition.map { [$0] }
        return result.size
    }
}
