// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: natfleet contributors

import FleetAPI
import FleetModel
import Logging
import NATPolicy
import NetAddress
import Netfilter

/// Flows that no longer go the way that the rules say are ended: after a change that was confirmed and saved, after taking one
/// back, after a repair, and after whatever others did to the rules, which nobody may have seen. It is owed until it has
/// succeeded.
extension Reconciler {
    /// - Parameter before: what ran when the flows may have begun, nil for nothing.
    func oweSweep(since before: AppliedState?) {
        if !unswept.contains(before) { unswept.append(before) }
        // Where sweeping always fails: whole policies are not kept for that.
        if unswept.count > 8 { unswept.removeFirst() }
    }

    /// What is owed of a first trial that was taken back.
    func sweepWithoutPolicy() {
        guard let facts = unswept.compactMap(\.self).last?.facts,
            let nothing = try? compile(.none, on: facts)
        else { return }
        sweep(running: nothing, on: facts)
    }

    /// Pays what is owed; a failure shows, and is made up for with the next look.
    func sweep(running compiled: CompiledPolicy, on facts: HostFacts) {
        do throws(TrialFailure) {
            try paySweeps(running: compiled, on: facts)
        } catch {
            let condition = Condition(.applyFailed, error.reason)
            if troubles[.flows] != [condition] { log.warning("\(error.reason)") }
            troubles[.flows] = [condition]
        }
    }

    private func paySweeps(running compiled: CompiledPolicy, on facts: HostFacts) throws(TrialFailure) {
        let locks = machinery.lockNews()
        for before in unswept { try end(after: before, compiled, facts) }
        (unswept, health.regained, lockNews) = ([], [], locks)
        troubles[.flows] = nil
        if isTrialKept { owe(.trial) }
    }

    /// After a trial that was taken back. What fails here has no way back left, and is said only.
    func endFlows(of trial: TrialJournal) {
        oweSweep(since: AppliedState(desired: trial.desired, facts: trial.facts))
        do throws(TrialFailure) {
            let state = applied ?? AppliedState(desired: DesiredState(hash: "", policy: .none), facts: trial.facts)
            try paySweeps(running: try compiling(state.desired, state.facts), on: state.facts)
        } catch {
            log.warning("flows of the change that was taken back may live on", metadata: ["reason": "\(error)"])
        }
    }

    /// After a trial that was confirmed and saved by an agent that ended then.
    func endFlowsOfPrevious() {
        guard let state = wholeApplied(), let compiled = try? compiling(state.desired, state.facts) else { return }
        do throws(StateFileError) {
            oweSweep(since: try files.load(AppliedState.self, .previous))
        } catch {
            log.warning("flows of the policy before may live on", metadata: ["reason": "\(error)"])
            oweSweep(since: nil)
        }
        sweep(running: compiled, on: state.facts)
    }

    private func end(
        after before: AppliedState?, _ compiled: CompiledPolicy, _ facts: HostFacts
    ) throws(TrialFailure) {
        let forwards: [EffectivePolicy.Layered<PortForward>] = before?.desired.policy.dnat ?? []
        // All that counts of it.
        let old = before.flatMap { forwards.isEmpty ? nil : try? compile($0.desired.policy, on: $0.facts) }
        if old == nil, !forwards.isEmpty {
            // A newer agent may read a policy more strictly: nobody knows what it had rules for.
            log.warning("flows of port forwards of the policy before may live on: it does not compile any more")
        }
        let draining = forwards.filter { $0.entry.drain == true }.map { ruleComment("\($0.policy)/\($0.entry.name)") }
        let sweep = FlowSweep(
            from: old?.ruleset ?? Ruleset(), to: compiled.ruleset, facts: facts,
            ownAddresses: machinery.ownAddresses(), draining: Set(draining), regained: health.regained)
        let ended: Int
        do throws(KernelError) {
            ended = try machinery.flows.sweep { sweep.fault(of: $0) != nil }
        } catch {
            throw TrialFailure(.failed, error.description)
        }
        if ended > 0 { log.notice("ended flows that went another way", metadata: ["flows": "\(ended)"]) }
    }
}
