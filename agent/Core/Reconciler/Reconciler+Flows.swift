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
    /// - Parameter before: what ran when the flows may have begun, nil for nothing.
    /// - Returns: how many.
    func endFlows(
        after before: AppliedState?, running compiled: CompiledPolicy, on facts: HostFacts
    ) throws(TrialFailure) -> Int {
        let old = try before.map { before throws(TrialFailure) in try compiling(before.desired, before.facts) }
        return try end(from: old?.ruleset ?? Ruleset(), before?.desired.policy, to: compiled.ruleset, facts)
    }

    /// After a trial that was taken back. What fails here has no way back left, and is said only.
    func endFlows(ofTrial tried: CompiledPolicy) {
        do throws(TrialFailure) {
            let facts = applied?.facts ?? attempt?.facts
            guard let facts else { return }
            let now = try applied.map { applied throws(TrialFailure) in try compiling(applied.desired, facts) }
            _ = try end(from: tried.ruleset, attempt?.desired.policy, to: now?.ruleset ?? Ruleset(), facts)
        } catch {
            log.warning("flows of the change that was taken back may live on", metadata: ["reason": "\(error)"])
        }
    }

    private func end(
        from before: Ruleset, _ policy: EffectivePolicy?, to after: Ruleset, _ facts: HostFacts
    ) throws(TrialFailure) -> Int {
        let forwards: [EffectivePolicy.Layered<PortForward>] = policy?.dnat ?? []
        let draining = forwards.filter { $0.entry.drain == true }.map { "natfleet:\($0.policy)/\($0.entry.name)" }
        let sweep = FlowSweep(from: before, to: after, facts: facts, draining: Set(draining))
        var ended = 0
        do throws(KernelError) {
            for family in IPFamily.allCases { ended += try machinery.flows.sweep(family) { sweep.fault(of: $0) != nil } }
        } catch {
            throw TrialFailure(.failed, error.description)
        }
        return ended
    }
}
