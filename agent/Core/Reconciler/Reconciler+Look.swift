// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: natfleet contributors

import FleetAPI
import FleetModel
import Logging
import NATPolicy
import NetAddress
import Netfilter

/// Between two trials: what was confirmed is kept true.
extension Reconciler {
    /// Brings the kernel back to what was confirmed last, under the facts of now.
    package func reconcile(_ look: Look) async -> WorkReport {
        loadOnce()
        payArrears()
        if isTrimDue { machinery.trim() }
        isTrimDue = false
        var look = look
        troubles[.drift] = drift.conditions(clock())
        // What is the matter with the host may have ended without a word of the kernel's.
        if surroundingsChanged() || troubles[.host]?.isEmpty == false { look = .everything }
        if let refusal, await isWorthAnotherTry(refusal) { return report(retry: refusal.desired) }
        guard let applied else { return report() }
        if look == .glance, isSettled() {
            await probeIfDue(applied.desired) { () throws(TrialFailure) in
                try compiling(applied.desired, settled?.facts ?? applied.facts)
            }
            return report()
        }
        do throws(TrialFailure) {
            let compiled = try await keep(applied, look)
            defer { if compiled != nil { releaseMemory() } }
            await probeIfDue(applied.desired) { () throws(TrialFailure) in
                if let compiled { return compiled }
                return try compiling(applied.desired, settled?.facts ?? applied.facts)
            }
        } catch {
            let kind = error.cause?.condition ?? (error.result == .failed ? .applyFailed : .factsLost)
            let condition = Condition(kind, error.reason)
            if troubles[.host] != [condition] { log.warning("\(error.reason)") }
            troubles[.host] = [condition]
        }
        return report()
    }

    /// Puts back what is on disk, for boot, under the facts of then: no network, no controller. `applied.json` decides: a
    /// crash may lie between it and the rules beside it, which count only where it cannot be read.
    /// - Returns: false when that failed; the reason is logged.
    package func restore() async -> Bool {
        loadOnce()
        guard isReadable else { return await restoreRules() }
        guard let applied else {
            log.notice("nothing was applied yet, nothing to restore")
            return true
        }
        do {
            let compiled = try compile(applied.desired.policy, on: applied.facts)
            let found = try files.load([String: String].self, .sysctls) ?? [:]
            var change = Change(kernel: kernel, files: files)
            let target = Target(compiled).beforeTheNetwork(found)
            let done = try await change.perform(try await change.prepare(target))
            // What the distribution did not load, whatever its service says.
            log.notice(
                "restored",
                metadata: ["hash": "\(applied.desired.hash)", "differed": "\(brief(done.differences))"])
            return true
        } catch {
            return failedToRestore("\(error)", applied.desired.policy.forwarding.families)
        }
    }

    private func failedToRestore(_ reason: String, _ families: [IPFamily]) -> Bool {
        log.error("restore failed", metadata: ["reason": "\(reason)"])
        for said in ForwardingGate(kernel: kernel).close(families) { log.error("\(said)") }
        return false
    }

    /// Where nobody can tell which policy ran: the rules beside it, each of which was confirmed once, and forwarding in the
    /// families that have some. Other settings stay as the sysctl files at boot made them.
    private func restoreRules() async -> Bool {
        var found: [String: String] = [:]
        do {
            found = try files.load([String: String].self, .sysctls) ?? [:]
            let settings = try found.map { SysctlSetting($0.key, try kernel.sysctl($0.key) ?? $0.value) }
            let target = try Target(saved: files, keeping: settings)
            var change = Change(kernel: kernel, files: files)
            _ = try await change.perform(try await change.prepare(target))
            log.notice("restored the rules that were saved beside it")
            return true
        } catch {
            // Where natfleet turned it on it had found another value.
            return failedToRestore("\(error)", IPFamily.allCases.filter { found[$0.forwardingKey] != nil })
        }
    }

    /// Whether what this back end's own generation does not tell differs from when it was seen last.
    private func surroundingsChanged() -> Bool {
        guard let backEnd = settled?.facts.iptables.backend, let surroundings else { return false }
        let now = kernel.surroundings()
        if backEnd == .legacy, now.generation != surroundings.generation { return true }
        return (now.program, now.legacyTables) != (surroundings.program, surroundings.legacyTables)
    }

    /// Nothing has moved since the last whole look.
    private func isSettled() -> Bool {
        guard isPersisted, let settled, let generation = settled.generation,
            generation == kernel.rulesetGeneration()
        else { return false }
        return settled.sysctls.allSatisfy { (try? kernel.sysctl($0.key)) == $0.value }
    }

    /// - Returns: nil where nothing has moved.
    private func keep(_ applied: AppliedState, _ look: Look) async throws(TrialFailure) -> CompiledPolicy? {
        var facts = settled?.facts ?? applied.facts
        let known = health.lost
        if look == .everything || settled == nil {
            (facts, health.lost) = try await currentFacts().keepingLost(since: applied.facts)
            // What the probe met was another host.
            if health.lost != known { probedAt = -.infinity }
            health.regained.formUnion(known.filter { !health.lost.contains($0) }.map(\.interface))
        }
        let nothingIsAmiss = known.isEmpty && health.lost.isEmpty && troubles[.host]?.isEmpty != false
        if nothingIsAmiss, facts == settled?.facts, isSettled(), clock() - diskCheckedAt < Self.diskPeriod {
            return nil
        }
        let compiled = try compiling(applied.desired, facts)
        watch(compiled, on: facts)
        if let conflict = facts.backEndConflict(with: compiled.ruleset),
            applied.facts.iptables.backend != facts.iptables.backend
        {
            // What is there already is kept in repair; nothing is loaded beside another back end's rules.
            throw TrialFailure(.failed, conflict, cause: .twoBackEnds)
        }
        var change = Change(kernel: kernel, files: files, spelling: spelling)
        defer { spelling = change.spelling }
        var differences: [String] = []
        let prepared: PreparedChange
        do throws(ChangeFailure) {
            prepared = try await change.prepare(Target(compiled))
            health.missingRules = prepared.missingRules
            let done = try await change.perform(prepared)
            differences = done.differences
            let displaced = settled?.displaced
            settled = Settled(done, facts)
            // Whether that matters is for the probe to say, and soon.
            if settled?.displaced != displaced, !drift.isContended(clock()) { probedAt = -.infinity }
            health.missingRules = [:]
        } catch {
            change.spelling = Spelling()
            throw TrialFailure(.failed, error)
        }
        let isLocalChange = facts != applied.facts
        if !differences.isEmpty, !isLocalChange { noteRepair(differences) }
        if !differences.isEmpty || !health.regained.isEmpty {
            try endFlows(after: applied, running: compiled, on: facts, regained: health.regained)
            health.regained = []
        }
        troubles[.drift] = drift.conditions(clock())
        noteHost(compiled, lost: health.lost, conflict: facts.backEndConflict(with: compiled.ruleset))
        self.applied?.facts = facts
        if isLocalChange || !differences.isEmpty { (probePlan, probedAt) = (nil, -.infinity) }
        let conntrack = size(applied.desired.policy)
        // A setting that somebody else sees to by now must not come back with the next boot.
        let hasForgotten = try prepared.before.found != valuesFound()
        if isLocalChange || !isPersisted || hasForgotten || look == .everything {
            await persist(compiled, prepared.target.rules, conntrack, isNew: isLocalChange || !isPersisted)
        }
        return compiled
    }

    private func valuesFound() throws(TrialFailure) -> [String: String] {
        do throws(StateFileError) {
            return try files.load([String: String].self, .sysctls) ?? [:]
        } catch {
            throw TrialFailure(.failed, error.description)
        }
    }

    func noteRepair(_ differences: [String]) {
        drift.repaired(differences, clock())
        status.drift = drift.summary
        troubles[.drift] = drift.conditions(clock())
        log.warning("put back", metadata: ["differed": "\(brief(differences))"])
    }

    /// Between two looks nobody needs what a large ruleset needs to be compared.
    func releaseMemory() {
        guard attempt == nil else { return }
        if (applied?.desired.policy.dnat.count ?? 0) > 1000 { spelling = Spelling() }
        // With the next look, when whoever asked for the work has let go of it as well.
        isTrimDue = true
    }

    /// Shows what of the host keeps the policy from being whole.
    func noteHost(_ compiled: CompiledPolicy, lost: [LostFact], conflict: String? = nil) {
        var found = lost.map(\.condition)
        if let conflict { found.append(Condition(.twoBackEnds, conflict)) }
        for family in compiled.heldBack {
            let message = "\(family.label) is not forwarded: this host has no \(family.label) default route"
            found.append(Condition(.familyHeldBack, message, family: family))
        }
        troubles[.host] = found
    }

    /// A failure is tried again after a pause; what was refused or reverted, when the host is another one.
    private func isWorthAnotherTry(_ refusal: Refusal) async -> Bool {
        if refusal.outcome.result == .failed {
            pause.passed += 1
            return pause.passed >= pause.length
        }
        // Refused without a look at the host: another look would change nothing.
        guard let known = refusal.facts, let facts = try? await kernel.facts() else {
            return false
        }
        // The trial has to see what moved without news: another version of iptables under the same name.
        if facts != known { factNews = nil }
        return facts != known
    }
}
