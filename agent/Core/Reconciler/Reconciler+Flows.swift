// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: natfleet contributors

import FleetAPI
import FleetModel
import Logging
import NATPolicy
import NetAddress
import Netfilter

/// Flows that no longer go the way that the rules say are ended: after a change, after taking one back, after a repair.
extension Reconciler {
    /// - Parameters:
    ///   - before: what ran when the flows may have begun, nil for nothing.
    ///   - regained: interfaces that had lost something which they have again.
    func endFlows(
        after before: AppliedState?, running compiled: CompiledPolicy, on facts: HostFacts,
        regained: Set<String> = []
    ) throws(TrialFailure) {
        try end(from: ranRules(of: before), before?.desired.policy, to: compiled.ruleset, facts, regained)
    }

    /// Where a newer agent reads the policy more strictly nobody knows what it had rules for: flows of its port forwards live on.
    private func ranRules(of before: AppliedState?) -> Ruleset {
        guard let before else { return Ruleset() }
        do throws(TrialFailure) {
            return try compiling(before.desired, before.facts).ruleset
        } catch {
            log.warning("flows of the policy before may live on", metadata: ["reason": "\(error)"])
            return Ruleset()
        }
    }

    /// After a trial that was taken back. What fails here has no way back left, and is said only.
    func endFlows(of trial: TrialJournal) {
        do throws(TrialFailure) {
            let tried = try compiling(trial.desired, trial.facts)
            let now = try applied.map { applied throws(TrialFailure) in try compiling(applied.desired, applied.facts) }
            let facts = applied?.facts ?? trial.facts
            try end(from: tried.ruleset, trial.desired.policy, to: now?.ruleset ?? Ruleset(), facts)
        } catch {
            log.warning("flows of the change that was taken back may live on", metadata: ["reason": "\(error)"])
        }
    }

    private func end(
        from before: Ruleset, _ policy: EffectivePolicy?, to after: Ruleset, _ facts: HostFacts,
        _ regained: Set<String> = []
    ) throws(TrialFailure) {
        let forwards: [EffectivePolicy.Layered<PortForward>] = policy?.dnat ?? []
        let draining = forwards.filter { $0.entry.drain == true }.map { ruleComment("\($0.policy)/\($0.entry.name)") }
        let sweep = FlowSweep(
            from: before, to: after, facts: facts, ownAddresses: machinery.ownAddresses(), draining: Set(draining),
            regained: regained)
        let ended: Int
        do throws(KernelError) {
            ended = try machinery.flows.sweep { sweep.fault(of: $0) != nil }
        } catch {
            throw TrialFailure(.failed, error.description)
        }
        if ended > 0 { log.notice("ended flows that went another way", metadata: ["flows": "\(ended)"]) }
    }
}
