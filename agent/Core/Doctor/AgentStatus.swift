// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: natfleet contributors

import FleetAPI
package import FleetModel
package import NATPolicy
import NetAddress
import Netfilter

#if canImport(FoundationEssentials)
    package import FoundationEssentials
#else
    package import Foundation
#endif

/// What `natfleet-agent status` shows: what runs, since when, from which policy. Its keys are those of `-o json`.
package struct AgentStatus: Codable, Hashable, Sendable {
    package enum State: String, Codable, CaseIterable, Hashable, Sendable {
        /// No policy was ever confirmed here.
        case idle
        /// The kernel holds what was confirmed last.
        case applied
        /// A change is on trial.
        case trying
        /// The kernel does not hold what was confirmed last.
        case differs
        /// It cannot be told: not root, a broken file, a table that cannot be listed.
        case unknown
    }

    package struct Kernel: Codable, Hashable, Sendable {
        /// nil where the family is off.
        package var forwarding: Bool?
        /// natfleet's own rules; nil where they cannot be read.
        package var rules: Int?
        /// In what the rules differ from the policy, at most 20.
        package var differences: [String]
    }

    package struct Refused: Codable, Hashable, Sendable {
        package var result: Outcome.Result
        package var detail: String
        package var at: Date
        package var layers: [EffectivePolicy.Layer]
    }

    package var state: State
    /// nil where it may not be seen.
    package var agentRuns: Bool?
    package var agentVersion: String
    package var instance: String?
    package var controller: String?
    package var layers: [EffectivePolicy.Layer]
    package var hash: String?
    package var confirmedAt: Date?
    package var ipv4: Kernel?
    package var ipv6: Kernel?
    /// What the controller wanted last and that does not run.
    package var refused: Refused?
    package var trialUntil: Date?
    /// What the running agent says is the matter, worst first; nil where none runs, or it cannot be read.
    package var conditions: [Condition]?
    /// Since when it is that.
    package var conditionsSince: Date?
    /// What could not be read.
    package var faults: [String]

    package init(_ found: Inspection) {
        agentRuns = found.agentRunning
        agentVersion = NatfleetVersion.current
        instance = found.identity?.instanceID
        controller = found.configuration?.controller
        layers = found.applied?.desired.policy.layers ?? []
        hash = found.applied?.desired.hash
        confirmedAt = found.applied?.confirmedAt
        refused = found.refusal.map {
            Refused(
                result: $0.outcome.result, detail: $0.outcome.detail, at: $0.outcome.at,
                layers: $0.desired.policy.layers)
        }
        trialUntil = found.trial?.deadline
        conditions = found.told?.conditions
        conditionsSince = found.told?.since
        faults = found.stateFaults + [found.factsFault, found.compileFault].compactMap(\.self)
        state = .unknown
        ipv4 = kernel(.ipv4, found)
        ipv6 = kernel(.ipv6, found)
        state = judge(found)
    }

    private mutating func kernel(_ family: IPFamily, _ found: Inspection) -> Kernel? {
        guard let read = found[family] else { return nil }
        var kernel = Kernel(forwarding: read.forwarding.map { $0 != "0" }, differences: [])
        do throws(KernelError) {
            let rules = try read.rules.get()
            kernel.rules = rules.lines.count - (rules.nat.jumps + rules.filter.jumps).count
            if found.applied == nil || found.compiled != nil {
                let wrong = Netfilter.differences(of: rules, from: try read.wanted.get())
                kernel.differences = wrong.prefix(20).map(\.description)
            }
        } catch {
            faults.append("\(family.label): \(error)")
        }
        if kernel.forwarding != true, found.isForwardingWanted(family) {
            kernel.differences.insert("\(family.forwardingKey) is off", at: 0)
        }
        return kernel
    }

    private func judge(_ found: Inspection) -> State {
        if !faults.isEmpty { return .unknown }
        if trialUntil != nil { return .trying }
        if [ipv4, ipv6].contains(where: { $0?.differences.isEmpty == false }) { return .differs }
        return found.applied == nil ? .idle : .applied
    }
}

extension DesiredState {
    /// `web revision 3, egress revision 1`
    var layersText: String { text(policy.layers) }
}

extension AppliedState {
    var layersText: String { text(desired.policy.layers) }
}

private func text(_ layers: [EffectivePolicy.Layer]) -> String {
    layers.isEmpty ? "no policy" : layers.map { "\($0.policy) revision \($0.revision)" }.joined(separator: ", ")
}

extension AgentStatus {
    /// For people: what, then how it is.
    package var table: [(what: String, how: String)] {
        var rows: [(String, String)] = [
            ("state", stateText),
            ("agent", "\(agentRuns.map { $0 ? "runs" : "does not run" } ?? "not known"), version \(agentVersion)"),
        ]
        if let instance { rows.append(("instance", instance)) }
        if let controller { rows.append(("controller", controller)) }
        rows.append(("policy", hash != nil ? AgentCore.text(layers) : state == .unknown ? "not known" : "none yet"))
        if let hash { rows.append(("hash", hash)) }
        if let confirmedAt { rows.append(("since", AgentCore.text(confirmedAt))) }
        for (family, kernel) in [(IPFamily.ipv4, ipv4), (.ipv6, ipv6)] {
            guard let kernel else { continue }
            let forwarding = kernel.forwarding.map { $0 ? "forwarding on" : "forwarding off" } ?? "off"
            rows.append((family.label, "\(forwarding), \(kernel.rules.map { "\($0) rules" } ?? "rules not read")"))
            rows += kernel.differences.map { ("", $0) }
        }
        if let refused {
            rows.append(
                (
                    "refused",
                    "\(AgentCore.text(refused.layers)), \(refused.result.rawValue) \(AgentCore.text(refused.at))"
                ))
            rows.append(("", refused.detail))
        }
        if let trialUntil { rows.append(("trial", "until \(AgentCore.text(trialUntil))")) }
        rows += conditionRows
        rows += faults.map { ("fault", $0) }
        return rows
    }

    private var conditionRows: [(String, String)] {
        guard let conditions, let conditionsSince else { return [] }
        let since = "since \(AgentCore.text(conditionsSince))"
        guard !conditions.isEmpty else { return [("conditions", "none \(since)")] }
        return [("conditions", since)]
            + conditions.flatMap { condition in
                [
                    ("", "\(condition.severity.rawValue) \(condition.code): \(condition.message)"),
                    ("", "  fix: \(condition.remedy)"),
                ]
            }
    }

    private var stateText: String {
        switch state {
        case .idle: "idle: no policy was applied yet"
        case .applied: "applied: the kernel holds what was confirmed"
        case .trying:
            agentRuns == true ? "trying: a change is on trial" : "trying: a trial was left, the agent takes it back"
        case .differs: "differs: the kernel does not hold what was confirmed; 'natfleet-agent doctor' says more"
        case .unknown: "unknown: not all could be read"
        }
    }
}
