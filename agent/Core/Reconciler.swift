// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: natfleet contributors

package import FleetAPI
package import FleetModel
package import Logging
import NATPolicy
import NetAddress
import Netfilter

#if canImport(FoundationEssentials)
    import FoundationEssentials
#else
    import Foundation
#endif

/// Makes the kernel hold what is wanted, and tells what it holds.
///
/// Goals: what runs is what was asked; a desired state that cannot be true here is refused before anything is touched; a
/// change that fails is taken back; losing facts or the controller never takes rules away. Approach: level-triggered.
/// Every call gathers host facts, compiles, reads the kernel back and changes only what differs, so a start, a tick, a new
/// policy and a new address are one path. Threading: `AgentMachine` never asks for two things at once.
package actor Reconciler {
    private struct Refusal {
        var desired: DesiredState
        var facts: HostFacts?
        var reason: String
        var isFailure: Bool
        /// Reconciliations to let pass before a failed change is tried again: doubles with each failure, up to 32.
        var pause: Int
        var skipped = 0

        var condition: Condition { Condition(isFailure ? .applyFailed : .policyRefused, reason) }
    }

    private let kernel: any Kernel
    private let files: any StateFiles
    private let log: Logger
    private var applied: AppliedState?
    private var isLoaded = false
    /// False when what was applied last is on disk and cannot be understood.
    private var isReadable = true
    private var isPersisted = true
    private var refusal: Refusal?
    private var spelling = Spelling()
    package private(set) var status: InstanceStatus

    package init(kernel: any Kernel, files: any StateFiles, log: Logger) {
        self.kernel = kernel
        self.files = files
        self.log = log
        self.status = InstanceStatus(phase: .idle, agentVersion: NatfleetVersion.current)
    }

    /// Tries a desired state that the controller sent.
    package func apply(_ desired: DesiredState) async -> WorkReport {
        await loadOnce()
        let result: Outcome.Result
        let detail: String
        var conditions: [Condition?] = []
        do throws(Rejection) {
            (result, detail) = (.applied, try await adopt(desired, keeping: nil, conditions: &conditions))
            refusal = nil
        } catch {
            (result, detail) = (error.isFailure ? .failed : .refused, error.reason)
            let pause = refusal?.desired.hash == desired.hash ? min((refusal?.pause ?? 1) * 2, 32) : 1
            refusal = Refusal(
                desired: desired, facts: error.facts, reason: detail, isFailure: error.isFailure, pause: pause)
            log.warning("policy not applied", metadata: ["hash": "\(desired.hash)", "reason": "\(detail)"])
        }
        conditions.append(refusal?.condition)
        report(result == .applied ? .applied : result == .failed ? .failed : .refused, conditions)
        return WorkReport(
            status: status, outcome: Outcome(hash: desired.hash, result: result, detail: detail, at: Date()))
    }

    /// Brings the kernel back to what was applied last, under the facts of now.
    package func reconcile() async -> WorkReport {
        await loadOnce()
        if let refusal, await isWorthAnotherTry(refusal) { return await apply(refusal.desired) }
        guard let applied else { return WorkReport(status: status) }
        var conditions = [refusal?.condition]
        do throws(Rejection) {
            _ = try await adopt(applied.desired, keeping: applied.facts, conditions: &conditions)
        } catch {
            conditions.append(Condition(error.kind ?? (error.isFailure ? .applyFailed : .factsLost), error.reason))
        }
        report(refusal == nil ? .applied : status.phase, conditions)
        return WorkReport(status: status)
    }

    /// Puts back what is on disk, for boot, under the facts of then: no network, no controller. `applied.json` alone
    /// decides: a crash may lie between it and the rules beside it, which are for people.
    /// - Returns: false when that failed; the reason is logged.
    package func restore() async -> Bool {
        await loadOnce()
        guard isReadable else { return false }
        guard let applied else {
            log.notice("nothing was applied yet, nothing to restore")
            return true
        }
        do {
            let compiled = try compile(applied.desired.policy, on: applied.facts)
            var change = Change(kernel: kernel, files: files)
            _ = try await change.run(Target(compiled))
            log.notice("restored", metadata: ["hash": "\(applied.desired.hash)"])
            return true
        } catch {
            log.error("restore failed", metadata: ["reason": "\(error)"])
            return false
        }
    }

    /// Compiles for the facts of now, changes what differs, persists.
    /// - Returns: what was resolved, for people.
    private func adopt(
        _ desired: DesiredState, keeping known: HostFacts?, conditions: inout [Condition?]
    ) async throws(Rejection) -> String {
        guard desired.policy.hash == desired.hash else {
            throw Rejection("the controller sent a policy that does not have the hash \(desired.hash)", facts: nil)
        }
        var facts = try await currentFacts()
        status.facts = facts
        if let known {
            let (kept, lost) = facts.keepingLost(since: known)
            facts = kept
            if !lost.isEmpty { conditions.append(Condition(.factsLost, lost.joined(separator: "; "))) }
        }
        let compiled = try compiling(desired, facts)
        if let conflict = facts.backEndConflict(with: compiled.ruleset) {
            guard known?.iptables.backend == facts.iptables.backend else {
                throw Rejection(conflict, facts: facts, kind: .twoBackEnds)
            }
            // What is there already is kept in repair.
            conditions.append(Condition(.twoBackEnds, conflict))
        }
        for family in compiled.heldBack {
            let message = "\(family.label) is not forwarded: this host has no \(family.label) default route"
            conditions.append(Condition(.familyHeldBack, message))
        }
        let differences: [String]
        var change = Change(kernel: kernel, files: files, spelling: spelling)
        defer { spelling = change.spelling }
        do throws(ChangeFailure) {
            differences = try await change.run(Target(compiled))
        } catch {
            throw Rejection(error.description, facts: facts, isFailure: true)
        }
        let now = AppliedState(desired: desired, facts: facts)
        if known != nil, !differences.isEmpty {
            log.warning("put back", metadata: ["differed": "\(brief(differences))"])
        } else if known == nil {
            log.notice("applied", metadata: ["hash": "\(desired.hash)"])
        }
        if applied != now || !isPersisted || !differences.isEmpty { persist(now, compiled) }
        applied = now
        if !isPersisted { conditions.append(Condition(.notPersisted, "the state folder cannot be written")) }
        return brief(compiled.resolved, limit: 20)
    }

    private func persist(_ state: AppliedState, _ compiled: CompiledPolicy) {
        do throws(StateFileError) {
            try files.write(.rulesIPv4, Array(renderRestore(compiled.ruleset[.ipv4]).utf8))
            try files.write(.rulesIPv6, Array(renderRestore(compiled.ruleset[.ipv6]).utf8))
            try files.save(state, .applied)
            isPersisted = true
        } catch {
            if isPersisted { log.error("not persisted", metadata: ["reason": "\(error)"]) }
            isPersisted = false
        }
    }

    private func compiling(_ desired: DesiredState, _ facts: HostFacts) throws(Rejection) -> CompiledPolicy {
        do throws(CompileError) {
            return try compile(desired.policy, on: facts)
        } catch {
            let reasons = error.faults.map { "\($0) (fix: \($0.remedy))" }
            throw Rejection(brief(reasons, limit: 20), facts: facts)
        }
    }

    private func currentFacts() async throws(Rejection) -> HostFacts {
        do throws(KernelError) {
            return try await kernel.facts()
        } catch {
            throw Rejection(error.description, facts: nil, isFailure: true)
        }
    }

    private func isWorthAnotherTry(_ refusal: Refusal) async -> Bool {
        if refusal.isFailure {
            self.refusal?.skipped += 1
            return refusal.skipped + 1 >= refusal.pause
        }
        // Refused without a look at the host: another look would change nothing.
        guard let known = refusal.facts, let facts = try? await kernel.facts() else { return false }
        return facts != known
    }

    private func loadOnce() async {
        guard !isLoaded else { return }
        isLoaded = true
        do throws(StateFileError) {
            applied = try files.load(AppliedState.self, .applied)
        } catch {
            isReadable = false
            log.error("what was applied last is lost", metadata: ["reason": "\(error.description)"])
        }
        if let applied { status.runningHash = applied.desired.hash }
    }

    private func report(_ phase: InstanceStatus.Phase, _ conditions: [Condition?]) {
        status.phase = phase
        status.runningHash = applied?.desired.hash
        status.layers = applied?.desired.policy.layers ?? []
        status.conditions = conditions.compactMap(\.self).sorted { ($1.severity, $0.code) < ($0.severity, $1.code) }
    }
}

/// The first few of what may be thousands.
private func brief(_ sentences: [String], limit: Int = 5) -> String {
    let more = sentences.count - limit
    return sentences.prefix(limit).joined(separator: "; ") + (more > 0 ? "; and \(more) more" : "")
}

/// Why a desired state does not run.
private struct Rejection: Error {
    let reason: String
    let facts: HostFacts?
    /// The machine failed, rather than the policy being impossible here: worth trying again.
    let isFailure: Bool
    /// How it shows where nothing new was asked for; nil for the usual.
    let kind: ConditionKind?

    init(_ reason: String, facts: HostFacts?, isFailure: Bool = false, kind: ConditionKind? = nil) {
        self.reason = reason
        self.facts = facts
        self.isFailure = isFailure
        self.kind = kind
    }
}
