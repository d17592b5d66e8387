// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: natfleet contributors

import FleetAPI
import FleetModel
import Logging
import NATPolicy
import NetAddress
import Netfilter

/// What is known of the disk.
struct DiskRecord {
    var isPersisted = true
    var checkedAt = -Double.infinity
    /// Seconds from a failure to the next try.
    private(set) var pause = 0.0
    /// Of natfleet's own files, as they were read back.
    var prints: [StateFile: Int] = [:]

    mutating func end(isPersisted: Bool, _ now: Double) {
        (self.isPersisted, checkedAt) = (isPersisted, now)
        pause = isPersisted ? 0 : min(max(1, pause * 2), 300)
    }
}

/// The agent's own rule files.
struct RuleFiles: Sendable {
    let ipv4: [UInt8]
    let ipv6: [UInt8]

    init(_ compiled: CompiledPolicy) {
        ipv4 = Array(renderRestore(compiled.ruleset[.ipv4]).utf8)
        ipv6 = Array(renderRestore(compiled.ruleset[.ipv6]).utf8)
    }

    /// The same, beside whatever else is going on.
    nonisolated static func of(_ compiled: CompiledPolicy) async -> RuleFiles { RuleFiles(compiled) }
}

/// What was confirmed survives a reboot.
extension Reconciler {
    /// Saved files are read again after this long, in seconds; nothing tells when they change.
    static let diskPeriod = 3600.0

    /// Whether the disk has to be looked at although nothing has moved: now and then, sooner while it does not hold what it
    /// should, and where a file of natfleet's own is not what was written.
    func isDiskDue(_ look: Look) -> Bool {
        let time = clock() - disk.checkedAt
        guard disk.isPersisted else { return time >= disk.pause }
        return time >= Self.diskPeriod || look == .everything && !areOwnFilesThere()
    }

    /// Whether it is worth a look where the rules are read anyway.
    var isDiskOld: Bool { disk.isPersisted && clock() - disk.checkedAt >= 300 }

    /// - Parameters:
    ///   - rules: as this host spells them.
    ///   - ruleFiles: of `compiled`, where somebody has them.
    ///   - isNew: false to look whether the disk still says so, and make good only what does not.
    func persist(
        _ compiled: CompiledPolicy, _ rules: [IPFamily: OwnedState], _ conntrack: ConntrackSize?,
        ruleFiles: RuleFiles? = nil, isNew: Bool = true
    ) async {
        var found = keepOwnFiles(ruleFiles ?? RuleFiles(compiled), isNew: isNew)
        // What flows are judged by is on disk by now, and so is what ran before. Where the disk takes nothing the change runs all
        // the same.
        if isNew, !unswept.isEmpty, let applied { sweep(running: compiled, on: applied.facts) }
        if found.isEmpty { found = forgetTrial(isNew: isNew) }
        var isPersisted = found.isEmpty && arrears.isEmpty
        if let persistence = machinery.persistence {
            let wanted = PersistentState(
                rules: rules, sysctls: compiled.sysctls,
                found: (try? files.load([String: String].self, .sysctls)) ?? [:],
                conntrack: conntrack)
            let report = isNew ? await persistence.save(wanted) : await persistence.mend(wanted)
            if status.persistence != report.method.description {
                status.persistence = report.method.description
                log.notice("rules are kept over reboots", metadata: ["by": "\(report.method)"])
            }
            for note in report.notes { log.info("\(note)") }
            found += report.conditions
            isPersisted = isPersisted && report.isPersisted
        }
        if !isPersisted, !found.isEmpty, troubles[.disk] != found {
            log.error("not persisted", metadata: ["reason": "\(found.map(\.message).joined(separator: "; "))"])
        }
        troubles[.disk] = found
        disk.end(isPersisted: isPersisted, clock())
    }

    /// natfleet's own record, from which it starts without a controller.
    private func keepOwnFiles(_ rules: RuleFiles, isNew: Bool) -> [Condition] {
        guard let applied else { return [] }
        do throws(StateFileError) {
            let forwards = forwards ?? ForwardsJSON(of: applied.desired.policy)
            for (file, bytes) in [
                (StateFile.rulesIPv4, rules.ipv4), (.rulesIPv6, rules.ipv6),
                (.applied, try encoded(applied, forwards, .applied)),
            ] {
                if isNew || (try? files.read(file)) != bytes { try files.write(file, bytes) }
                guard try files.read(file) == bytes else {
                    throw StateFileError("\(file.rawValue) reads back otherwise than it was written")
                }
                disk.prints[file] = fingerprint(bytes)
            }
            if isNew { machinery.reach("forget") }
            return []
        } catch {
            return [Condition(.notPersisted, "the state folder cannot be written: \(error.description)")]
        }
    }

    /// With the record on disk there is no way back any more. What the trial tells of flows is kept until they have ended.
    ///
    /// - Parameter isNew: false where there may be nothing to forget.
    func forgetTrial(isNew: Bool) -> [Condition] {
        isTrialKept = !unswept.isEmpty
        let over = (refusal == nil ? [StateFile.refusal] : []) + (isTrialKept ? [] : [.trial])
        do throws(StateFileError) {
            for file in over {
                let bytes = isNew ? [] : try files.read(file)
                if bytes != nil { arrears.insert(file) }
            }
            payArrears()
            return []
        } catch {
            return [Condition(.notPersisted, "the state folder cannot be read: \(error.description)")]
        }
    }

    /// Whether natfleet's own files are what was read back last: somebody may have tidied up.
    private func areOwnFilesThere() -> Bool {
        disk.prints.allSatisfy { file, print in (try? files.read(file)).flatMap(\.self).map(fingerprint) == print }
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
            try files.remove(.previous)
            arrears.remove(.trial)
            isTrialKept = false
        }
        troubles[.arrears] = nil
    }

    /// Sizes connection tracking; what it says is a condition, never a reason to stop.
    func size(_ policy: EffectivePolicy) -> ConntrackSize? {
        let result = ConntrackSizing(kernel: kernel, files: files, memoryKiB: machinery.memoryKiB).apply(policy)
        troubles[.size] = result.condition.map { [$0] }
        sized = result.size
        return result.size
    }
}

/// Means nothing in another process. An array's own hash takes its elements one by one.
private func fingerprint(_ bytes: [UInt8]) -> Int {
    var hasher = Hasher()
    bytes.withUnsafeBytes { hasher.combine(bytes: $0) }
    return hasher.finalize()
}
