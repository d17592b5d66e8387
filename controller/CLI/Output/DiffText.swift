// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: natfleet contributors

internal import FleetAPI
internal import NATPolicy
internal import NetAddress
internal import Netfilter
internal import PolicyImport

extension PolicyDifference {
    /// For people: what changes in the document.
    func text(colour: Bool) -> String {
        lineDiff(
            old?.normalized().yaml ?? "", new.normalized().yaml,
            oldName: oldRevision.map { "policy/\(name) revision \($0)" } ?? "policy/\(name), not there",
            newName: "policy/\(name) revision \(newRevision)", colour: colour)
    }
}

extension DiffResponse {
    /// For people: what changes in the rules, instances with the same change together.
    func rulesText(colour: Bool) -> String {
        var texts: [String] = []
        var members: [String: [String]] = [:]
        for instance in instances {
            let text = rulesText(of: instance, colour: colour)
            if members[text] == nil { texts.append(text) }
            members[text, default: []].append(instance.instance)
        }
        return texts.map { text in
            let ids = members[text, default: []].sorted().joined(separator: ", ")
            return printable("instance/\(ids)") + "\n" + text
        }.joined()
    }

    private func rulesText(of instance: InstanceDifference, colour: Bool) -> String {
        guard let facts = instance.facts else { return "  it never reported its host: its rules are not known\n" }
        let (old, new) = (state(instance.oldHash, facts), state(instance.newHash, facts))
        switch (old, new) {
        case (.success(let before), .success(let after)):
            let text = IPFamily.allCases.map { family in
                lineDiff(
                    renderRestore(before[family]), renderRestore(after[family]), oldName: "\(family.label) rules now",
                    newName: "\(family.label) rules then", colour: colour)
            }.joined()
            return text.isEmpty ? "  the same rules\n" : text
        case (_, .failure(let error)): return "  it would refuse: \(printable(error.reason))\n"
        case (.failure(let error), _): return "  now it refuses: \(printable(error.reason))\n"
        }
    }

    private struct NoRules: Error {
        let reason: String
    }

    private func state(_ hash: String?, _ facts: HostFacts) -> Result<Ruleset, NoRules> {
        guard let hash, let policy = effective[hash] else {
            return .failure(NoRules(reason: "its policies contradict each other"))
        }
        do throws(CompileError) {
            return .success(try compile(policy, on: facts).ruleset)
        } catch {
            return .failure(NoRules(reason: error.faults.map(\.message).joined(separator: "; ")))
        }
    }
}
