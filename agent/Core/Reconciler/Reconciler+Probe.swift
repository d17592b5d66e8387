// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: natfleet contributors

import FleetAPI
import FleetModel
import NATPolicy
import NetAddress

/// What clients meet: in the trial, and every half minute.
extension Reconciler {
    static let probePeriod = 30.0

    /// Sources of connections that are translated now.
    func translatedClients() -> Set<IPAddress> {
        var seen = ClientsInUse()
        for family in IPFamily.allCases { try? machinery.flows.forEach(family) { seen.see($0) } }
        return seen.clients
    }

    /// - Throws: when clients could not get out with what is in the kernel now.
    func probeTrial(_ attempt: Attempt) async throws(TrialFailure) {
        guard let probe = machinery.probe else { return }
        let plan = ProbePlan(
            attempt.compiled, of: attempt.desired.policy, on: attempt.facts, clients: attempt.clients)
        let found = await probe.run(plan)
        if case .failed(let reasons) = gate(before: findings, after: found) {
            throw TrialFailure(.reverted, brief(reasons))
        }
        (findings, probedAt) = (found, clock())
    }

    func probeIfDue(_ desired: DesiredState, _ compiled: () throws(TrialFailure) -> CompiledPolicy) async {
        guard let probe = machinery.probe, clock() - probedAt >= Self.probePeriod, let facts = settled?.facts else {
            return
        }
        do throws(TrialFailure) {
            if probePlan == nil { probePlan = ProbePlan(try compiled(), of: desired.policy, on: facts) }
            guard let plan = probePlan else { return }
            findings = await probe.run(plan)
            troubles[.probe] = conditions(of: findings)
        } catch {
            troubles[.probe] = [Condition(.probeFailed, error.reason)]
        }
        probedAt = clock()
    }

    /// Takes the probe's client away, and what was told; NAT stays as it is.
    package func stop() async {
        await machinery.probe?.stop()
        try? machinery.told?.remove(.told)
    }
}
