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
        troubles[.drift] = drift.conditions(clock())
        if let refusal, await isWorthAnotherTry(refusal, look) { return report(retry: refusal.desired) }
        guard let applied else {
            sweepWithoutPolicy()
            tidyUp()
            return report()
        }
        do throws(TrialFailure) {
            let compiled = try await keep(applied, look)
            troubles[.work] = nil
            await probeIfDue { () throws(TrialFailure) in
                let applied = try needApplied()
                let running =
                    if let compiled { compiled } else {
                        try compiling(applied.desired, settled?.facts ?? applied.facts)
                    }
                return (running, applied.desired.policy)
            }
            if compiled == nil { tidyUp() } else { releaseMemory() }
        } catch {
            let condition = error.condition
            if troubles[.work] != [condition] { log.warning("\(error.reason)") }
            troubles[.work] = [condition]
        }
        hasLooked = true
        return report()
    }

    /// What a look compares the kernel with.
    private struct Ground {
        var facts: HostFacts
        var seen: HostFacts?
        /// nil where the host is as it was when it was looked at last.
        var compiled: CompiledPolicy?
    }

    private func needApplied() throws(TrialFailure) -> AppliedState {
        guard let applied = wholeApplied() else { throw TrialFailure(.failed, "what was applied last is lost") }
        return applied
    }

    /// - Parameter outline: what was applied, maybe without its port forwards.
    /// - Returns: nil where nothing has moved.
    private func keep(_ outline: AppliedState, _ look: Look) async throws(TrialFailure) -> CompiledPolicy? {
        let areRulesSame = areRulesSame(look)
        // What takes longest begins first, while the policy is compiled.
        async let sighting = areRulesSame == false ? see() : nil
        // An agent may have ended between a repair and its sweep.
        if settled == nil || areRulesSame == false || look == .everything && mayHaveBeenOthers() {
            oweSweep(since: try needApplied())
        }
        let ground = try await ground(outline, look)
        let isDiskDue = isDiskDue(look)
        let isQuiet =
            ground.compiled == nil && troubles[.work] == nil && areRulesSame == true && areSettingsSame() && !isDiskDue
        if isQuiet { settled?.seen = ground.seen }
        if isQuiet, unswept.isEmpty { return nil }
        let applied = try needApplied()
        let policy = applied.desired.policy
        let compiled =
            if let compiled = ground.compiled { compiled } else { try compiling(applied.desired, ground.facts) }
        if isQuiet {
            sweep(running: compiled, on: ground.facts)
            return compiled
        }
        watch(compiled, on: ground.facts)
        let conflict = ground.facts.backEndConflict(with: compiled.ruleset)
        if let conflict, applied.facts.iptables.backend != ground.facts.iptables.backend {
            // What is there already is kept in repair; nothing is loaded beside another back end's rules.
            throw TrialFailure(.failed, conflict, cause: .twoBackEnds)
        }
        let (prepared, done) = try await putRight(compiled, ground, await sighting)
        let (conntrack, wrongSize) = keepSize(policy)
        let differences = done.differences + wrongSize

        let isLocalChange = ground.facts != applied.facts && !ground.facts.isSame(as: applied.facts, to: policy)
        if !differences.isEmpty, !isLocalChange { noteRepair(differences) }
        if !differences.isEmpty || isLocalChange || !health.regained.isEmpty { oweSweep(since: applied) }
        if !unswept.isEmpty { sweep(running: compiled, on: ground.facts) }
        troubles[.drift] = drift.conditions(clock())
        noteHost(compiled, conflict: conflict)
        if isLocalChange { self.applied?.facts = ground.facts }
        if isLocalChange || !differences.isEmpty { (probePlan, probedAt) = (nil, -.infinity) }
        // A setting that somebody else sees to by now must not come back with the next boot.
        let hasForgotten = try prepared.before.found != valuesFound()
        if isLocalChange || hasForgotten || isDiskDue || look == .everything && isDiskOld {
            await persist(compiled, prepared.target.rules, conntrack, isNew: isLocalChange)
        }
        return compiled
    }

    private nonisolated func see() async -> Result<Sighting, ChangeFailure>? {
        do throws(ChangeFailure) {
            return .success(try await Sighting.of(machinery.kernel))
        } catch {
            return .failure(error)
        }
    }

    private func putRight(
        _ compiled: CompiledPolicy, _ ground: Ground, _ sighting: Result<Sighting, ChangeFailure>?
    ) async throws(TrialFailure) -> (PreparedChange, PerformedChange) {
        var change = Change(kernel: kernel, files: files, spelling: spelling)
        defer { spelling = change.spelling }
        do throws(ChangeFailure) {
            let prepared = try await change.prepare(Target(compiled), seen: try sighting?.get())
            health.missingRules = prepared.missingRules
            let done = try await change.perform(prepared)
            let displaced = settled?.displaced
            settled = Settled(done, ground.facts, seen: ground.seen)
            // Whether that matters is for the probe to say, and soon.
            if settled?.displaced != displaced, !drift.isContended(clock()) { probedAt = -.infinity }
            health.missingRules = [:]
            return (prepared, done)
        } catch {
            change.spelling = [:]
            throw TrialFailure(.failed, error)
        }
    }

    /// Sizes connection tracking, or puts the size back.
    /// - Returns: what natfleet made it, and where somebody had changed that, a sentence.
    private func keepSize(_ policy: EffectivePolicy) -> (ConntrackSize?, [String]) {
        let wanted = sized
        let now = (try? kernel.sysctl(ConntrackSize.maxKey)).flatMap(\.self)
        let size = size(policy)
        guard let wanted, let now, now != "\(wanted.max)", size == wanted else { return (size, []) }
        return (size, ["sysctl \(ConntrackSize.maxKey) was \(now)"])
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
        // With the next look, when whoever asked for the work has let go of it as well.
        trimsDue = 3
    }

    // MARK: What has moved

    /// Nobody has changed rules since they were read last; nil where only reading them tells.
    private func areRulesSame(_ look: Look) -> Bool? {
        guard let settled, settled.mark.covers(settled.backEnd) else { return nil }
        return settled.mark.isSame(as: kernel.rulesMark(contents: look > .glance), settled.backEnd)
    }

    /// Others may have changed rules and put them back as they were, with flows that began in between: nobody counts.
    private func mayHaveBeenOthers() -> Bool {
        guard settled?.backEnd == .legacy else { return settled?.mark.generation == nil }
        let now = machinery.lockNews()
        return now == nil || now != lockNews
    }

    private func areSettingsSame() -> Bool {
        guard let settled else { return false }
        let size = sized.map { [ConntrackSize.maxKey: "\($0.max)"] } ?? [:]
        return settled.sysctls.merging(size) { $1 }.allSatisfy { (try? kernel.sysctl($0.key)) == $0.value }
    }

    /// Whether what this back end's own generation does not tell differs from when it was seen last.
    private func haveSurroundingsChanged() -> Bool {
        guard let backEnd = settled?.backEnd, let surroundings else { return false }
        let now = kernel.surroundings()
        if backEnd == .legacy, now.generation != surroundings.generation { return true }
        return (now.program, now.legacyTables) != (surroundings.program, surroundings.legacyTables)
    }

    // MARK: The host

    /// Facts that the policy can be true for: those of now, with what was lost since. Where it cannot be true even so, or they
    /// cannot be had, those of before: lost facts never take rules away, nor keep them from being put back (DESIGN §5).
    private func ground(_ outline: AppliedState, _ look: Look) async throws(TrialFailure) -> Ground {
        guard looksAtHost(look) else { return known(outline) }
        let now: HostFacts
        do throws(TrialFailure) {
            now = try await currentFacts(isLook: look == .everything)
            troubles[.sight] = nil
        } catch {
            show(error.condition, .sight)
            return known(outline)
        }
        let (facts, lost) = now.keepingLost(since: outline.facts, by: outline.desired.policy)
        if let settled, let seen = settled.seen, lost == health.lost {
            let isSame =
                if now.isAlike(seen) { true } else { now.isSame(as: seen, to: try needApplied().desired.policy) }
            if isSame { return Ground(facts: settled.facts, seen: now) }
        }
        // What the probe met was another host.
        if lost != health.lost { probedAt = -.infinity }
        health.regained.formUnion(health.lost.filter { !lost.contains($0) }.map(\.interface))
        health.lost = lost
        let applied = try needApplied()
        do throws(TrialFailure) {
            let compiled = try compiling(applied.desired, facts)
            troubles[.facts] = nil
            return Ground(facts: facts, seen: now, compiled: compiled)
        } catch {
            var before = applied.facts
            before.iptables = now.iptables
            let compiled = try compiling(applied.desired, before)
            show(error.condition, .facts)
            return Ground(facts: before, seen: now, compiled: compiled)
        }
    }

    private func known(_ applied: AppliedState) -> Ground {
        Ground(
            facts: settled?.facts ?? applied.facts, seen: settled?.seen)
    }

    /// What is the matter with the host may have ended without a word of the kernel's.
    private func looksAtHost(_ look: Look) -> Bool {
        look == .everything || settled == nil || haveSurroundingsChanged()
            || [Trouble.sight, .facts, .host, .work].contains { troubles[$0]?.isEmpty == false }
    }

    private func show(_ condition: Condition, _ trouble: Trouble) {
        if troubles[trouble] != [condition] { log.warning("\(condition.message)") }
        troubles[trouble] = [condition]
    }

    /// Shows what of the host keeps the policy from being whole.
    func noteHost(_ compiled: CompiledPolicy, conflict: String? = nil) {
        var found = health.lost.map(\.condition)
        if let conflict { found.append(Condition(.twoBackEnds, conflict)) }
        for family in compiled.heldBack {
            let message = "\(family.label) is not forwarded: this host has no \(family.label) default route"
            found.append(Condition(.familyHeldBack, message, family: family))
        }
        troubles[.host] = found
    }

    /// A failure is tried again after a pause; what was refused or reverted, when the host is another one.
    private func isWorthAnotherTry(_ refusal: Refusal, _ look: Look) async -> Bool {
        if refusal.outcome.result == .failed {
            pause.passed += 1
            return pause.passed >= pause.length
        }
        // Refused without a look at the host: another look would change nothing.
        guard let known = refusal.facts, let facts = try? await currentFacts(isLook: look == .everything) else {
            return false
        }
        return !facts.isSame(as: known, to: refusal.desired.policy)
    }
}

extension TrialFailure {
    /// What a look that failed shows.
    fileprivate var condition: Condition {
        Condition(cause?.condition ?? (result == .failed ? .applyFailed : .factsLost), reason)
    }
}
