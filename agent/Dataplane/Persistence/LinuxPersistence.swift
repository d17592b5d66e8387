// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: natfleet contributors

package import AgentCore
import NetAddress
import Netfilter

/// The real machine: files below /etc, the distribution's save, systemd's units.
///
/// The order of `save`: settings, rules, units; then all of it is read back as `check` does. Units come last, since what
/// they load must be right before it is loaded. A part that fails keeps none of the others from being saved.
package struct LinuxPersistence: Persistence {
    static let sysctlFile = "/etc/sysctl.d/90-natfleet.conf"
    static let modulesFile = "/etc/modules-load.d/natfleet.conf"

    let root: Root
    let runner: CommandRunner
    /// For the distribution's own commands, of which there are up to four.
    let savingLimit: Duration

    /// - Parameter root: put before every path; empty for the machine itself.
    package init(
        root: String = "", runner: CommandRunner = CommandRunner(), savingLimit: Duration = .seconds(30)
    ) {
        self.root = Root(prefix: root)
        self.runner = runner
        self.savingLimit = savingLimit
    }

    private var systemctl: Systemctl { Systemctl(root: root, runner: runner) }

    package func method() async -> PersistenceMethod { await look().method }

    package func save(_ wanted: PersistentState) async -> PersistenceReport {
        await save(wanted, of: IPFamily.allCases)
    }

    package func mend(_ wanted: PersistentState) async -> PersistenceReport {
        let found = await check(wanted)
        guard !found.isPersisted else { return found }
        return await save(wanted, of: found.faults.filter { $0.kind == .rules }.compactMap(\.family))
    }

    /// - Parameter families: whose rules have to be saved.
    private func save(_ wanted: PersistentState, of families: [IPFamily]) async -> PersistenceReport {
        let before = await look()
        var notes: [String] = []
        var unwritten: [String: String] = [:]
        for (path, text) in Self.settings(wanted) {
            do throws(StateFileError) { try root.hold(path, text, mode: 0o644) } catch {
                unwritten[path] = [error.description, root.advice(on: path)].compactMap(\.self).joined(separator: "; ")
            }
        }
        var saver = RuleSaver(root: root, runner: runner, limit: savingLimit)
        let files = RuleFile.files(of: before.method, below: root)
        await saver.save(files.filter { families.contains($0.family) }, wanted.rules)
        notes += saver.notes
        notes += await enable(before)

        var report = await check(wanted)
        report.notes = notes + report.notes
        // Why the files are wrong is known here.
        for index in report.faults.indices where report.faults[index].kind == .settings {
            let path = unwritten.keys.first { report.faults[index].message.hasPrefix($0) }
            if let why = path.flatMap({ unwritten[$0] }) { report.faults[index].message += ": \(why)" }
        }
        for fault in saver.faults {
            report.faults.removeAll { $0.kind == .rules && $0.family == fault.family }
            report.faults.append(fault)
        }
        return report
    }

    package func check(_ wanted: PersistentState) async -> PersistenceReport {
        let found = await look()
        var report = PersistenceReport(method: found.method)
        if let trouble = found.trouble {
            report.faults.append(PersistenceFault(.unit, trouble))
        } else if found.survey.units == nil, wanted.rules.values.contains(where: { !$0.isEmpty }) {
            let message = "nothing restores the rules at boot: this machine is not run by systemd"
            report.faults.append(PersistenceFault(.noUnits, message))
        }
        for file in RuleFile.files(of: found.method, below: root) {
            let fault = fault(file.path) { text in
                text.map { SavedRules($0).fault(wanted: wanted.rules[file.family] ?? .none) } ?? "is not there"
            }
            if let fault { report.faults.append(PersistenceFault(.rules, fault, family: file.family)) }
            if root.isThere(file.broken) {
                let message = "\(file.path) was broken: what it held is in \(file.broken)"
                report.faults.append(PersistenceFault(.restoreFailed, message, family: file.family))
            }
        }
        for (path, text) in Self.settings(wanted) {
            if let fault = fault(path, { $0 == text ? nil : "does not hold the settings that are wanted" }) {
                report.faults.append(PersistenceFault(.settings, fault))
            }
        }
        report.faults += found.unitFaults + SurroundingFaults(root: root).all(found.method, found.survey)
        return report
    }

    package func remove() async -> [String] {
        var failures: [String] = []
        func attempt(_ body: () throws(StateFileError) -> Void) {
            do throws(StateFileError) { try body() } catch { failures.append(error.description) }
        }
        for method in [PersistenceMethod.iptablesServices, .netfilterPersistent] {
            for file in RuleFile.files(of: method, below: root) {
                attempt { () throws(StateFileError) in
                    if let text = try root.text(file.path) {
                        try root.hold(file.path, SavedRules(text).withoutOwn.text, mode: file.mode)
                    }
                    if let path = file.fallback, try root.text(path)?.hasPrefix(RuleSaver.mark) == true {
                        try root.remove(path)
                    }
                }
            }
        }
        for path in [Self.sysctlFile, Self.modulesFile] {
            attempt { () throws(StateFileError) in try root.remove(path) }
        }
        do throws(KernelError) {
            let unit = MethodSurvey.forwardingUnit
            if try await systemctl.states([unit])?[unit]?.isEnabled == true { try await systemctl.disable([unit]) }
        } catch {
            failures.append(error.description)
        }
        return failures
    }

    package func enabledUnits() async -> [String] {
        let found = await look()
        return found.needed.filter { unit in
            unit != MethodSurvey.forwardingUnit && found.survey.units?[unit]?.isEnabled == true
        }
    }

    /// Files of settings with what they have to hold, nil for no such file.
    private static func settings(_ wanted: PersistentState) -> [(path: String, text: String?)] {
        [(sysctlFile, SysctlFiles.text(wanted)), (modulesFile, wanted.conntrack == nil ? nil : SysctlFiles.modules)]
    }

    private func fault(_ path: String, _ judge: (String?) -> String?) -> String? {
        do throws(StateFileError) {
            return judge(try root.text(path)).map { "\(path) \($0)" }
        } catch {
            return error.description
        }
    }

    private func enable(_ found: Found) async -> [String] {
        let missing = found.needed.filter { found.survey.units?[$0]?.isEnabled == false }
        let units = missing.filter { found.survey.units?[$0]?.isThere == true }
        guard !units.isEmpty else { return [] }
        do throws(KernelError) {
            try await systemctl.enable(units)
            return []
        } catch {
            return [error.description]
        }
    }

    private func look() async -> Found {
        var survey = MethodSurvey(units: nil)
        var trouble: String?
        do throws(KernelError) {
            survey.units = try await systemctl.states(MethodSurvey.allUnits)
        } catch {
            trouble = error.description
        }
        survey.hasInitScript =
            root.isProgram("/usr/libexec/iptables/iptables.init") || root.isThere("/etc/sysconfig/iptables-config")
        let plugins = "/usr/share/netfilter-persistent/plugins.d"
        survey.hasPlugins = ["15-ip4tables", "25-ip6tables"].allSatisfy { root.isProgram("\(plugins)/\($0)") }
        let surroundings = SurroundingFaults(root: root)
        survey.skipsSave = surroundings.skipsSave
        survey.ufwIsOn = surroundings.ufwIsOn
        return Found(survey: survey, trouble: trouble)
    }
}

/// What the machine says of itself.
private struct Found {
    let survey: MethodSurvey
    /// systemd did not answer.
    let trouble: String?

    var method: PersistenceMethod {
        trouble.map { .own(reason: $0) } ?? survey.method
    }

    var needed: [String] { survey.unitsNeeded(method) }

    var unitFaults: [PersistenceFault] {
        needed.compactMap { unit -> PersistenceFault? in
            guard let state = survey.units?[unit] else { return nil }
            if !state.isThere { return PersistenceFault(.unit, "\(unit) is \(state.isMasked ? "masked" : "missing")") }
            if !state.isEnabled { return PersistenceFault(.unit, "\(unit) is not enabled") }
            guard state.active == "failed" else { return nil }
            return PersistenceFault(.restoreFailed, "\(unit) failed to load its rules")
        }
    }
}
