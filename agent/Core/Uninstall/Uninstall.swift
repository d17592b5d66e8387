// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: natfleet contributors

import FleetAPI
import FleetModel
import NATPolicy
import NetAddress
import Netfilter

/// What `natfleet-agent uninstall` did. Sentences for people.
package struct UninstallReport: Hashable, Sendable {
    package var removed: [String] = []
    package var left: [String] = []
    /// What should be gone and is not.
    package var failures: [String] = []

    package init() {}
}

/// Takes natfleet off a machine, or leaves translation running without it. Run again after a failure it goes on where it
/// ended; the caller holds the lock of the state folder.
///
/// The order never leaks: forwarding that natfleet turned on goes off while the rules are still there, then the rules of
/// both families go, then other settings go back. That is one change, and if it fails all of it is taken back.
package struct Uninstall: Sendable {
    private let machinery: Machinery
    /// Keeps the agent's own unit from starting at boot; a sentence where that failed.
    private let disableUnit: @Sendable () async -> String?

    package init(_ machinery: Machinery, disableUnit: @escaping @Sendable () async -> String?) {
        self.machinery = machinery
        self.disableUnit = disableUnit
    }

    private var kernel: any Kernel { machinery.kernel }
    private var files: any StateFiles { machinery.files }

    /// - Parameters:
    ///   - keepNAT: rules, settings, forwarding and the distribution's saved files stay; only what is the agent's goes.
    ///   - keepIdentity: so that an agent installed later is the same instance.
    package func run(keepNAT: Bool, keepIdentity: Bool) async -> UninstallReport {
        var report = UninstallReport()
        await machinery.probe?.stop()
        do throws(ChangeFailure) {
            if keepNAT { try await keepRunning(&report) } else { try await clear(&report) }
        } catch {
            report.failures.append("\(error)")
            return report
        }
        if let failure = await disableUnit() { report.failures.append(failure) }
        removeFiles(keepIdentity, &report)
        return report
    }

    private func clear(_ report: inout UninstallReport) async throws(ChangeFailure) {
        var change = Change(kernel: kernel, files: files)
        let prepared = try await change.prepare(Target())
        _ = try await change.perform(prepared)
        // Persistence does not say whether there was anything of ours.
        let wasHere = prepared.before.rules.values.contains { !$0.isEmpty } || hasState
        for family in IPFamily.allCases {
            guard let rules = prepared.before.rules[family], !rules.isEmpty else { continue }
            report.removed.append("\(family.label): \(rules.summary), and the jumps into them")
        }
        for (key, value) in prepared.before.found.sorted(by: { $0.key < $1.key })
        where prepared.before.sysctls[key] != value {
            report.removed.append("\(key) is \(value) again")
        }
        if let trouble = ConntrackSizing(kernel: kernel, files: files, memoryKiB: nil).apply(.none).condition {
            report.failures.append(trouble.message)
        }
        if let persistence = machinery.persistence {
            let failures = await persistence.remove()
            report.failures += failures
            if failures.isEmpty, wasHere {
                report.removed.append("from what boots: natfleet's rules in saved files, its settings, its unit")
            }
            let units = await persistence.enabledUnits()
            if wasHere, !units.isEmpty {
                report.left.append(
                    "\(units.joined(separator: " and ")), enabled, with the rules of others that were saved: where nobody "
                        + "needs them, systemctl disable \(units.joined(separator: " "))")
            }
        }
        for family in IPFamily.allCases where isForwarding(family) {
            report.left.append(
                "\(family.forwardingKey) is 1, as natfleet found it: this host forwards without natfleet's rules")
        }
    }

    private func keepRunning(_ report: inout UninstallReport) async throws(ChangeFailure) {
        let trial: [UInt8]?
        do throws(StateFileError) { trial = try files.read(.trial) } catch { throw ChangeFailure(error.description) }
        guard trial == nil else {
            throw ChangeFailure(
                "a change on trial was left: start the agent once, which takes it back, or uninstall without --keep-nat"
            )
        }
        for family in IPFamily.allCases {
            let rules: OwnedState
            do throws(KernelError) {
                rules = try await kernel.observe(family)
            } catch {
                throw ChangeFailure(error.description)
            }
            let forwarding = isForwarding(family) ? "on" : "off"
            report.left.append("\(family.label): \(rules.summary), forwarding \(forwarding)")
        }
        guard let method = await machinery.persistence?.method() else { return }
        switch method {
        case .own:
            report.left.append(
                "nothing loads these rules at boot any more: save them by means of your own, then turn forwarding on "
                    + "at boot, after them")
        case .iptablesServices, .netfilterPersistent:
            let keys = IPFamily.allCases.filter(isForwarding).map { "\($0.forwardingKey) = 1" }
            report.left.append(
                "\(method) loads these rules at boot, and nothing turns forwarding on: write "
                    + "\(keys.joined(separator: " and ")) to /etc/sysctl.d/90-nat.conf")
        }
    }

    private func isForwarding(_ family: IPFamily) -> Bool {
        (try? kernel.sysctl(family.forwardingKey)).flatMap(\.self).map { $0 != "0" } ?? false
    }

    private var hasState: Bool { StateFile.allCases.contains { ((try? files.read($0)).flatMap(\.self)) != nil } }

    private func removeFiles(_ keepIdentity: Bool, _ report: inout UninstallReport) {
        let kept: Set<StateFile> = keepIdentity ? [.identity, .enrolmentKey] : []
        var isAnyGone = false
        for name in StateFile.allCases where !kept.contains(name) {
            do throws(StateFileError) {
                guard try files.read(name) != nil else { continue }
                try files.remove(name)
                isAnyGone = true
            } catch {
                report.failures.append(error.description)
            }
        }
        if isAnyGone { report.removed.append(keepIdentity ? "the agent's state" : "the agent's state and identity") }
        if keepIdentity, (try? files.read(.identity)).flatMap(\.self) != nil {
            report.left.append("the agent's identity")
        }
    }
}
