// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: natfleet contributors

import AgentCore
import NetAddress
import Netfilter

/// Saves all rules of the machine into the distribution's files.
///
/// `service iptables save` is known to fail while it returns 0, to be missing, and to stop half way. So its word counts
/// for nothing: what counts is the file. Where that is wrong the next command is tried, and in the end the file is
/// written here, from `iptables-save`, as that command would have.
struct RuleSaver: Sendable {
    let root: Root
    let runner: CommandRunner
    let limit: Duration
    private(set) var faults: [PersistenceFault] = []
    /// What went wrong on the way to a good end.
    private(set) var notes: [String] = []

    init(root: Root, runner: CommandRunner, limit: Duration) {
        self.root = root
        self.runner = runner
        self.limit = limit
    }

    mutating func save(_ files: [RuleFile], _ wanted: [IPFamily: OwnedState]) async {
        for file in files { keepBroken(file) }
        var troubles: [IPFamily: [String]] = [:]
        var wrong = files
        var run: [RuleFile.Command: String] = [:]
        for round in 0..<(files.map(\.saving.count).max() ?? 0) {
            for file in wrong where round < file.saving.count {
                // One command may save both families.
                let command = file.saving[round]
                if run[command] == nil { run[command] = await trouble(command) ?? "" }
                if let trouble = run[command], !trouble.isEmpty { troubles[file.family, default: []].append(trouble) }
            }
            var stillWrong: [RuleFile] = []
            for file in wrong {
                guard let fault = await saveFault(file, wanted[file.family] ?? .none) else { continue }
                let trouble = "\(file.path) \(fault)"
                if troubles[file.family]?.last != trouble { troubles[file.family, default: []].append(trouble) }
                stillWrong.append(file)
            }
            wrong = stillWrong
        }
        for file in files {
            await finish(
                file, wanted[file.family] ?? .none, isRight: !wrong.contains(file), troubles[file.family] ?? [])
        }
    }

    private mutating func finish(_ file: RuleFile, _ wanted: OwnedState, isRight: Bool, _ troubles: [String]) async {
        do {
            if !isRight { try await write(file) }
            guard let text = try root.text(file.path) else { throw StateFileError("\(file.path) is not there") }
            if let fault = SavedRules(text).fault(wanted: wanted) {
                throw StateFileError("\(file.path) \(fault)")
            }
            try root.sync(file.path)
            try keepLastKnownGood(file)
            if !troubles.isEmpty {
                let remedied = isRight ? [] : ["wrote it from \(file.family.program("-save"))"]
                notes.append("\(file.family.label): \((troubles + remedied).joined(separator: "; "))")
            }
        } catch {
            let said = troubles + ["\(error)", root.advice(on: file.path)].compactMap(\.self)
            faults.append(PersistenceFault(.rules, said.joined(separator: "; "), family: file.family))
        }
    }

    private func trouble(_ command: RuleFile.Command) async -> String? {
        do throws(KernelError) {
            return try await runner.result(command.program, command.arguments, within: limit).failure
        } catch {
            return error.description
        }
    }

    /// What is wrong with a file that a command has just written.
    private func saveFault(_ file: RuleFile, _ wanted: OwnedState) async -> String? {
        do {
            guard let text = try root.text(file.path) else { return "is not there" }
            let saved = SavedRules(text)
            if let fault = saved.fault(wanted: wanted) { return fault }
            // Rules of others too: half a file may hold all of ours.
            return saved.isSame(as: try await rulesNow(file.family)) ? nil : "does not hold what iptables-save prints"
        } catch {
            return "\(error)"
        }
    }

    private func rulesNow(_ family: IPFamily) async throws(KernelError) -> SavedRules {
        SavedRules(try await runner.run(family.program("-save"), []))
    }

    private func write(_ file: RuleFile) async throws {
        let now = try await rulesNow(file.family)
        // A machine without any rule prints nothing at all, and a file without any does the same at boot.
        let text = now.text.isEmpty ? "# natfleet-agent: no rules\n" : now.text
        if file.fallback != nil, let before = try root.text(file.path) {
            try root.write(file.path + ".save", before, mode: file.mode)
        }
        try root.write(file.path, text, mode: file.mode)
        // For SELinux; the file has its label from the folder where the program is missing.
        if runner.locate("restorecon") != nil {
            _ = await trouble(.init(program: "restorecon", arguments: [root.path(file.path)]))
        }
    }

    /// Rules of others that were lost when the file broke can be looked up.
    private mutating func keepBroken(_ file: RuleFile) {
        do {
            guard let text = try root.text(file.path), !text.isEmpty else { return }
            do throws(SaveTextError) {
                _ = try OwnedState(parsing: text)
            } catch {
                try root.write(file.broken, text, mode: file.mode)
                notes.append("\(file.path) could not be understood (\(error)): kept as \(file.broken)")
            }
        } catch {
            notes.append("\(error)")
        }
    }

    /// The init script loads it when the main file can't be. One that somebody else wrote stays as it is.
    private mutating func keepLastKnownGood(_ file: RuleFile) throws(StateFileError) {
        guard let path = file.fallback, let text = try root.text(file.path) else { return }
        if let there = try root.text(path), !there.isEmpty, !there.hasPrefix(Self.mark) {
            notes.append("\(path) is not natfleet's and stays as it is")
            return
        }
        try root.hold(path, Self.mark + text, mode: file.mode)
    }

    static let mark = "# natfleet-agent: last known good\n"
}
