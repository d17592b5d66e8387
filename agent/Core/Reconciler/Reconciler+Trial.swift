// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: natfleet contributors

import FleetAPI
import FleetModel
import Logging
import NATPolicy

#if canImport(FoundationEssentials)
    import FoundationEssentials
#else
    import Foundation
#endif

/// The steps of a trial, each by itself.
extension Reconciler {
    package func perform(_ step: TrialStep) async -> (TrialEvent, WorkReport) {
        loadOnce()
        _ = wholeApplied()
        machinery.reach(step.name)
        defer { releaseMemory() }
        do throws(TrialFailure) {
            switch step {
            case .recover: return await recover()
            case .stage(let desired): try await stage(desired)
            case .test: try await test()
            case .arm(let seconds): try arm(seconds)
            case .apply: try await apply()
            case .prove:
                let outcome = try await prove()
                machinery.reach("confirm")
                var proven = report(outcome)
                proven.hasMovedRules = self.attempt?.hasMovedJumps == true
                return (.succeeded, proven)
            case .persist: await persistAttempt()
            case .revert(let failure): return await revert(failure)
            }
            return (.succeeded, report())
        } catch {
            switch step {
            case .apply, .prove: return (.failed(error), report())
            default: return (.failed(error), conclude())
            }
        }
    }

    private func stage(_ desired: DesiredState) async throws(TrialFailure) {
        attempt = nil
        var seen: HostFacts?
        do throws(TrialFailure) {
            let facts = try await currentFacts(isLook: false)
            seen = facts
            if let refusal, refusal.outcome.result != .failed, refusal.desired.hash == desired.hash,
                refusal.facts?.isSame(as: facts, to: desired.policy) == true, !desired.isAskedAfter(refusal.desired)
            {
                throw TrialFailure(refusal.outcome.result, refusal.outcome.detail)
            }
            let compiled = try compiling(desired, facts)
            if let conflict = facts.backEndConflict(with: compiled.ruleset) { throw TrialFailure(.refused, conflict) }
            attempt = Attempt(desired: desired, facts: facts, compiled: compiled)
        } catch {
            throw remember(desired, seen, error)
        }
    }

    private nonisolated static func written(_ policy: EffectivePolicy) async -> (ForwardsJSON, hash: String) {
        let forwards = ForwardsJSON(of: policy)
        return (forwards, policy.hash(forwards))
    }

    private func test() async throws(TrialFailure) {
        guard let attempt else { throw .missing }
        var change = Change(kernel: kernel, files: files, spelling: spelling)
        defer { spelling = change.spelling }
        // The kernel walks all that it tracks, targets answer, and the policy is written, while the rules are rehearsed.
        let flows = machinery.flows
        let (look, targets) = (flowLook(attempt), targetsBefore(attempt))
        async let seen = look?.looking(at: flows)
        async let answers = ask(targets)
        async let written = Self.written(attempt.desired.policy)
        do throws(ChangeFailure) {
            self.attempt?.change = try await change.prepare(Target(attempt.compiled), isNew: true)
            let found = await seen
            self.attempt?.clients = found?.clients.clients ?? []
            self.attempt?.tracked = found?.addresses?.seen
            self.attempt?.before = findings.updated(by: await answers)
        } catch {
            throw remember(attempt.desired, attempt.facts, TrialFailure(.failed, error))
        }
        let (forwards, hash) = await written
        guard hash == attempt.desired.hash else {
            let reason = "the controller sent a policy without the hash \(attempt.desired.hash)"
            throw remember(attempt.desired, nil, TrialFailure(.refused, reason))
        }
        self.attempt?.forwards = forwards
    }

    private func arm(_ seconds: Int) throws(TrialFailure) {
        guard let attempt, let change = attempt.change else { throw .missing }
        let journal = TrialJournal(
            id: String(UInt64.random(in: .min ... .max), radix: 16), desired: attempt.desired, facts: attempt.facts,
            deadline: Date(timeIntervalSinceNow: Double(seconds)),
            bootID: kernel.bootID(), before: change.before)
        self.attempt?.journal = journal
        do throws(StateFileError) {
            try files.save(journal, attempt.forwards ?? ForwardsJSON(of: attempt.desired.policy), .trial)
            try files.keep(.applied, as: .previous)
        } catch {
            // It may be there all the same: what failed may be the sync after the renaming.
            let failure = remember(attempt.desired, attempt.facts, TrialFailure(.failed, error.description))
            owe(.trial)
            throw failure
        }
        // It took the place of one that could not be removed, or was kept.
        arrears.remove(.trial)
        isTrialKept = false
    }

    private func apply() async throws(TrialFailure) {
        guard let attempt, let change = attempt.change else { throw .missing }
        settled = nil
        // Needed once it is confirmed; the programs run meanwhile.
        async let ruleFiles = RuleFiles.of(attempt.compiled)
        let (plan, probe) = (plan(of: attempt), machinery.probe)
        self.attempt?.plan = plan
        health.probe.insert(plan)
        async let client: Void? = probe?.prepare(plan, tracked: attempt.tracked)
        do throws(ChangeFailure) {
            let done = try await Change(kernel: kernel, files: files).perform(change)
            settled = Settled(done, attempt.facts, seen: attempt.facts)
            self.attempt?.ruleFiles = await ruleFiles
            _ = await client
        } catch {
            // The programs may not be what they were when they were rehearsed.
            spelling = [:]
            throw TrialFailure(.failed, error)
        }
    }

    private func plan(of attempt: Attempt) -> ProbePlan {
        ProbePlan(attempt.compiled, of: attempt.desired.policy, on: attempt.facts, clients: attempt.clients)
    }

    /// - Returns: what the controller has to confirm.
    private func prove() async throws(TrialFailure) -> Outcome {
        guard let attempt else { throw .missing }
        let sizing = size(attempt.desired.policy)
        self.attempt?.conntrack = sizing
        guard let plan = attempt.plan else { throw .missing }
        if let found = await machinery.probe?.run(plan) { try await judge(found, of: plan, attempt) }
        return Outcome(
            hash: attempt.desired.hash, result: .applied, detail: brief(attempt.compiled.resolved, limit: 20),
            at: Date())
    }

    private func persistAttempt() async {
        guard let attempt else { return }
        self.attempt = nil
        // Its clients of then need no place in the plan from now on.
        probePlan = ProbePlan(attempt.compiled, of: attempt.desired.policy, on: attempt.facts)
        troubles[.probe] = conditions(of: findings)
        oweSweep(since: applied)
        applied = AppliedState(
            desired: attempt.desired, facts: attempt.facts, confirmedAt: Date(), trial: attempt.journal?.id)
        forwards = attempt.forwards
        refusal = nil
        hasLooked = true
        pause = (1, 0)
        (health.lost, health.missingRules) = ([], [:])
        for trouble in [Trouble.sight, .facts, .work] { troubles[trouble] = nil }
        watch(attempt.compiled, on: attempt.facts)
        noteHost(attempt.compiled)
        await persist(
            attempt.compiled, attempt.change?.target.rules ?? [:], attempt.conntrack, ruleFiles: attempt.ruleFiles)
        log.notice("applied and confirmed", metadata: ["hash": "\(attempt.desired.hash)"])
    }

    private func revert(_ failure: TrialFailure) async -> (TrialEvent, WorkReport) {
        let journal: TrialJournal?
        do throws(StateFileError) {
            // Without a trial of its own this agent takes back one that it found, and that did not go at first.
            journal = if let own = attempt?.journal { own } else { try journalFound() }
        } catch {
            return getStuck(failure, [error.description])
        }
        guard let journal else { return (.succeeded, conclude()) }
        return await takeBack(journal, failure) ?? (.succeeded, conclude())
    }

    /// - Returns: nil where there is none; one that nobody can understand is given up.
    /// - Throws: where the disk does not give it: then it is still owed.
    private func journalFound() throws(StateFileError) -> TrialJournal? {
        guard let bytes = try files.read(.trial) else { return nil }
        do {
            return try WireJSON.decode(TrialJournal.self, from: Data(bytes))
        } catch {
            log.error("a trial was left and cannot be understood", metadata: ["reason": "\(error)"])
            owe(.trial)
            return nil
        }
    }

    /// A trial that an agent before this one did not end.
    private func recover() async -> (TrialEvent, WorkReport) {
        let found: TrialJournal?
        do throws(StateFileError) {
            found = try journalFound()
        } catch {
            let failure = TrialFailure(.reverted, "the agent ended before the change was confirmed")
            return getStuck(failure, [error.description])
        }
        // What was heard may not have reached the controller before the agent ended.
        guard let found else { return (.succeeded, report(refusal?.outcome)) }
        if let id = found.id, id == applied?.trial {
            log.notice("the last change was confirmed and saved before the agent ended")
            refusal = nil
            if found.bootID == kernel.bootID() { endFlowsOfPrevious() }
            _ = forgetTrial(isNew: true)
            return (.succeeded, report())
        }
        if let id = found.id, let refusal, id == refusal.trial {
            // Why is known; whether all went back is not.
            let failure = TrialFailure(refusal.outcome.result, refusal.outcome.detail, cause: refusal.cause)
            return await takeBack(found, failure) ?? (.failed(failure), conclude())
        }
        let who = found.bootID == kernel.bootID() ? "the agent ended" : "the machine was restarted"
        let failure = TrialFailure(.reverted, "\(who) before the change was confirmed")
        return await takeBack(found, failure) ?? (.failed(failure), conclude())
    }

    /// Back to what was before a trial, unless a reboot has seen to that.
    ///
    /// - Returns: nil where it is taken back, else what is the matter.
    private func takeBack(_ trial: TrialJournal, _ failure: TrialFailure) async -> (TrialEvent, WorkReport)? {
        settled = nil
        if trial.bootID == kernel.bootID() {
            let leftovers = await Change(kernel: kernel, files: files).goBack(to: trial.before)
            if !leftovers.isEmpty { return getStuck(failure, leftovers) }
            endFlows(of: trial)
            _ = size(applied?.desired.policy ?? .none)
        } else {
            do throws(StateFileError) {
                try SysctlLedger.recall(trial.before, files)
            } catch {
                return getStuck(failure, [error.description])
            }
        }
        _ = remember(trial.desired, trial.facts, failure, trial.id)
        owe(.trial)
        return nil
    }

    private func getStuck(_ failure: TrialFailure, _ leftovers: [String]) -> (TrialEvent, WorkReport) {
        let reason = "\(failure.reason); not taken back yet: \(brief(leftovers))"
        if troubles[.work]?.first?.message != reason { log.error("\(reason)") }
        troubles[.work] = [Condition(.applyFailed, reason)]
        return (.stuck(failure), report())
    }

    /// Keeps why a desired state does not run, so that it is not tried for nothing.
    private func remember(
        _ desired: DesiredState, _ facts: HostFacts?, _ failure: TrialFailure, _ trial: String? = nil
    ) -> TrialFailure {
        let isSame =
            refusal?.desired.hash == desired.hash && refusal?.outcome.detail == failure.reason
            && refusal.map { desired.isAskedAfter($0.desired) } == false
        if failure.result == .failed {
            pause = (refusal?.desired.hash == desired.hash ? min(pause.length * 2, 32) : 1, 0)
        }
        if isSame, refusal?.facts == facts { return failure }
        let at = isSame ? refusal?.outcome.at ?? Date() : Date()
        let fresh = Refusal(
            desired: desired, facts: facts,
            outcome: Outcome(hash: desired.hash, result: failure.result, detail: failure.reason, at: at),
            cause: failure.cause, trial: trial)
        refusal = fresh
        log.warning(
            "policy not applied",
            metadata: [
                "hash": "\(desired.hash)", "result": "\(failure.result.rawValue)", "reason": "\(failure.reason)",
            ])
        owe(.refusal)
        return failure
    }

    /// The end of a trial that did not succeed.
    private func conclude() -> WorkReport {
        attempt = nil
        troubles[.work] = nil
        return report(refusal?.outcome)
    }
}

extension TrialFailure {
    /// The machine asks for steps in their order, so this is never seen.
    fileprivate static let missing = TrialFailure(.failed, "a step of the trial came without the one before it")
}

extension TrialStep {
    /// Without what goes with it.
    var name: String {
        switch self {
        case .recover: "recover"
        case .stage: "stage"
        case .test: "test"
        case .arm: "arm"
        case .apply: "apply"
        case .prove: "prove"
        case .persist: "persist"
        case .revert: "revert"
        }
    }
}
