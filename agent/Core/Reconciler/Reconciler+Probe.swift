// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: natfleet contributors

import FleetAPI
import FleetModel
import Logging
import NATPolicy
import NetAddress
import Netfilter

/// What clients meet: in the trial, and every half minute.
extension Reconciler {
    static let probePeriod = 30.0

    /// Who would notice a change, of what the policy that runs translates; and whose the addresses are that the probe may take.
    ///
    /// - Returns: nil where nobody that is translated now can be left out, and the probe's client may stay who it is.
    func flowLook(_ attempt: Attempt) -> FlowLook? {
        let running = runningEgress()
        var probe = health.probe
        // An agent before this one may have asked what this one has not yet.
        let plan = ProbePlan(attempt.compiled, of: attempt.desired.policy, on: attempt.facts)
        if let running, attempt.compiled.translatesAll(of: running),
            probePlan?.entries.map(\.clients) == plan.entries.map(\.clients)
        {
            return nil
        }
        probe.insert(plan)
        if let running, let applied {
            probe.insert(ProbePlan(running, of: applied.desired.policy, on: attempt.facts))
        }
        let timeout = (try? kernel.sysctl("net.netfilter.nf_conntrack_tcp_timeout_established")).flatMap(\.self)
        let clients = ClientsInUse(
            of: running?.masquerades ?? [], on: attempt.facts, probe: probe,
            connectionTimeout: timeout.flatMap { UInt32($0) })
        return FlowLook(clients: clients, addresses: AddressSightings(of: plan.clients, asking: probe.targets))
    }

    /// Targets that a change has to keep within clients' reach: those that answered when they were asked last, or were not
    /// asked yet. They are asked once more just before it, since one that went down meanwhile is not the change's fault.
    func targetsBefore(_ attempt: Attempt) -> ProbePlan? {
        guard let applied, let wanted = attempt.desired.policy.probes, !wanted.isEmpty, let running = runningEgress()
        else {
            return nil
        }
        let silent = findings.filter(\.answered.isNo).map(\.target)
        var plan = probePlan ?? ProbePlan(running, of: applied.desired.policy, on: attempt.facts)
        plan.settled = []
        for index in plan.entries.indices {
            plan.entries[index].targets.removeAll { !wanted.contains($0) || silent.contains($0) }
        }
        return plan.entries.allSatisfy(\.targets.isEmpty) ? nil : plan
    }

    func ask(_ plan: ProbePlan?) async -> [ProbeFinding] {
        guard let plan, let probe = machinery.probe else { return [] }
        return await probe.run(plan)
    }

    /// What runs, without its port forwards, of which there may be thousands.
    private func runningEgress() -> CompiledPolicy? {
        guard let applied else { return nil }
        var policy = applied.desired.policy
        policy.dnat = []
        return try? compile(policy, on: settled?.facts ?? applied.facts)
    }

    /// - Throws: when clients could not get out with what is in the kernel now.
    func judge(_ found: [ProbeFinding], of plan: ProbePlan, _ attempt: Attempt) async throws(TrialFailure) {
        var found = found
        if let probe = machinery.probe, try await putJumpsFirst(found, attempt.compiled, on: attempt.facts) {
            self.attempt?.hasMovedJumps = true
            found = await probe.run(plan)
        }
        if case .failed(let reasons) = gate(before: attempt.before, after: found) {
            throw TrialFailure(.reverted, brief(reasons))
        }
        (findings, probedAt) = (found, clock())
    }

    /// - Parameter running: what runs, compiled and as it was asked for.
    func probeIfDue(_ running: () throws(TrialFailure) -> (CompiledPolicy, EffectivePolicy)) async {
        guard let probe = machinery.probe, clock() - probedAt >= Self.probePeriod, let facts = settled?.facts else {
            return
        }
        do throws(TrialFailure) {
            if probePlan == nil {
                let (compiled, policy) = try running()
                probePlan = ProbePlan(compiled, of: policy, on: facts)
            }
            guard let plan = probePlan else { return }
            findings = await probe.run(plan)
            if findings.contains(where: \.keepsClientsOut), await mendJumps(try running().0, on: facts) {
                findings = await probe.run(plan)
            }
            troubles[.probe] = conditions(of: findings)
        } catch {
            troubles[.probe] = [Condition(.probeFailed, error.reason)]
        }
        probedAt = clock()
    }

    /// Others may put rules above natfleet's jumps at any time, and that matters only where it keeps clients out (DESIGN §5):
    /// then the jumps of that family go back to where they were inserted. Others' rules stay as they are.
    ///
    /// - Returns: whether anything was put back, so that the answer may be another one.
    private func putJumpsFirst(
        _ found: [ProbeFinding], _ compiled: CompiledPolicy, on facts: HostFacts
    ) async throws(TrialFailure) -> Bool {
        let families = Set(found.filter(\.keepsClientsOut).map(\.family))
        guard !families.isEmpty, !knowsJumpsAreFirst(families) else { return false }
        var change = Change(kernel: kernel, files: files, spelling: spelling)
        defer { spelling = change.spelling }
        let differences: [String]
        do throws(ChangeFailure) {
            let done = try await change.perform(try await change.prepare(Target(compiled), jumpsFirst: families))
            settled?.read(done)
            differences = done.differences
        } catch {
            throw TrialFailure(.failed, error)
        }
        guard !differences.isEmpty else { return false }
        noteRepair(differences + found.compactMap { $0.fault ?? $0.silence })
        oweSweep(since: applied)
        if attempt == nil { sweep(running: compiled, on: facts) }
        return true
    }

    /// Between two trials; what fails is tried again with the next probe.
    private func mendJumps(_ compiled: CompiledPolicy, on facts: HostFacts) async -> Bool {
        do throws(TrialFailure) {
            return try await putJumpsFirst(findings, compiled, on: facts)
        } catch {
            log.warning("natfleet's jumps are not put first again", metadata: ["reason": "\(error.reason)"])
            return false
        }
    }

    /// Without reading all rules.
    private func knowsJumpsAreFirst(_ families: Set<IPFamily>) -> Bool {
        guard let settled, settled.mark.isSame(as: kernel.rulesMark(contents: true), settled.backEnd) else {
            return false
        }
        return families.allSatisfy { settled.displaced[$0]?.isEmpty == true }
    }

    /// Takes the probe's client away, and what was told; NAT stays as it is.
    package func stop() async {
        await machinery.probe?.stop()
        try? machinery.told?.remove(.told)
    }
}

extension CompiledPolicy {
    /// Whether every source that `other` translates is translated by this as well, and no family is that was not: then no
    /// client of `other` is left out, whoever they are.
    fileprivate func translatesAll(of other: CompiledPolicy) -> Bool {
        IPFamily.allCases.allSatisfy { family in
            let sources = masquerades.filter { $0.family == family }.flatMap(\.sources)
            let before = other.masquerades.filter { $0.family == family }.flatMap(\.sources)
            return before.isEmpty == sources.isEmpty
                && before.allSatisfy { source in sources.contains { $0.contains(source) } }
        }
    }
}
