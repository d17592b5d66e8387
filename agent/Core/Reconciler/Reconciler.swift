// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: natfleet contributors

import FleetAPI
package import FleetModel
package import Logging
import NATPolicy
import NetAddress
import Netfilter

/// Makes the kernel hold what is wanted, and tells what it holds: the hands of `TrialMachine`, and of the looks between two
/// trials.
///
/// Goals: what runs is what was asked; a desired state that cannot be true here is refused before anything is touched; a
/// change that fails is taken back; losing facts or the controller never takes rules away. Approach: level-triggered.
/// Every look gathers host facts, compiles, reads the kernel back and changes only what differs, so a start, a tick and a
/// new address are one path. Threading: `AgentMachine` never asks for two things at once.
package actor Reconciler {
    /// What was read last and found to be as it should.
    struct Settled {
        /// Of the rules then.
        var mark = RulesMark()
        /// Jumps with others' rules above them, a sentence each.
        var displaced: [IPFamily: [String]]
        var sysctls: [String: String]
        /// What the rules were compiled for.
        var facts: HostFacts
        /// The host then, without what it had lost; nil where nobody could look.
        var seen: HostFacts?

        init(_ change: PerformedChange, _ facts: HostFacts, seen: HostFacts?) {
            (displaced, sysctls, self.facts, self.seen) = ([:], [:], facts, seen)
            read(change)
        }

        /// The same facts, another change.
        mutating func read(_ change: PerformedChange) {
            mark = change.reading.mark
            displaced = change.reading.displaced
            sysctls.merge(change.sysctls) { $1 }
        }

        var backEnd: HostFacts.Iptables.Backend { facts.iptables.backend }
    }

    /// A trial under way.
    struct Attempt {
        var desired: DesiredState
        var facts: HostFacts
        var compiled: CompiledPolicy
        var change: PreparedChange?
        var forwards: ForwardsJSON?
        var ruleFiles: RuleFiles?
        /// The way back, once it is on disk.
        var journal: TrialJournal?
        /// Who is served before the change.
        var clients: Set<IPAddress> = []
        /// Of the probe's addresses those that were seen in flows just before it; nil where nobody could look.
        var tracked: Set<IPAddress>?
        /// How that is found out after it.
        var plan: ProbePlan?
        /// What they met before it.
        var before: [ProbeFinding] = []
        /// Whether jumps had to be put first after it.
        var hasMovedJumps = false
        var conntrack: ConntrackSize?
    }

    let machinery: Machinery
    var kernel: any Kernel { machinery.kernel }
    var files: any StateFiles { machinery.files }
    let log: Logger
    /// Seconds of a clock that never goes back.
    let clock: @Sendable () -> Double
    /// What was confirmed last; without its port forwards while those are on the shelf (`wholeApplied`).
    var applied: AppliedState?
    /// Those of `applied`, from its trial on until nothing moves any more.
    var forwards: ForwardsJSON?
    var shelf: ShelvedForwards?
    var isLoaded = false
    /// False when what was applied last is on disk and cannot be understood.
    var isReadable = true
    var refusal: Refusal?
    /// Files that still tell what is over, since the disk did not take what became of a trial.
    var arrears: Set<StateFile> = []
    /// Looks to let pass before a failed change is tried again: doubles with each failure, up to 32.
    var pause = (length: 1, passed: 0)
    var attempt: Attempt?
    /// The kernel was read, so that the status can say what is the case.
    var hasLooked = false
    var spelling: [IPFamily: Spelling] = [:]
    var settled: Settled?
    /// As they were before the facts were gathered last.
    var surroundings: Surroundings?
    /// How many news there had been by then.
    var factNews: Int?
    /// How many times somebody had had the legacy back end's lock by the last sweep.
    var lockNews: Int?
    var drift = DriftHistory()
    /// What clients met when they were asked last, and with which packets that was.
    var findings: [ProbeFinding] = []
    var probePlan: ProbePlan? { didSet { health.probe.insert(probePlan) } }
    var probedAt = -Double.infinity
    /// Looks that find nothing to do and give back memory that nobody needs before the next change.
    var trimsDue = 0
    var disk = DiskRecord()
    /// What natfleet made of connection tracking, nil where it left it alone.
    var sized: ConntrackSize?
    /// What ran when flows may have begun that go another way than the rules say, until a sweep has succeeded; nil for
    /// nothing of natfleet's.
    var unswept: [AppliedState?] = []
    /// The trial was saved, and is on disk until flows of before it have ended.
    var isTrialKept = false
    /// What is the matter, by who found out.
    var troubles: [Trouble: [Condition]] = [:]
    var health = Health()
    var status: InstanceStatus

    enum Trouble: CaseIterable {
        case refusal
        /// The host could not be looked at.
        case sight
        /// What it has does not carry the policy.
        case facts
        case host
        /// A look, or a way back, that failed.
        case work
        case flows
        case drift
        case probe
        case health
        case size
        case disk
        case arrears
    }

    package init(
        _ machinery: Machinery, log: Logger, clock: @escaping @Sendable () -> Double
    ) {
        self.machinery = machinery
        self.log = log
        self.clock = clock
        self.status = InstanceStatus(phase: .idle, agentVersion: NatfleetVersion.current)
    }

    /// What is known before the first look.
    package var firstStatus: InstanceStatus {
        loadOnce()
        return report().status
    }

    func loadOnce() {
        guard !isLoaded else { return }
        isLoaded = true
        loadApplied()
        do throws(StateFileError) {
            refusal = try files.load(Refusal.self, .refusal)
        } catch {
            log.warning("what was refused last is lost", metadata: ["reason": "\(error.description)"])
        }
    }

    /// The status as it is now, with what a try has to say.
    func report(_ outcome: Outcome? = nil, retry: DesiredState? = nil) -> WorkReport {
        troubles[.refusal] = refusal.map { [$0.condition] }
        let calm: InstanceStatus.Phase = applied == nil ? .idle : hasLooked ? .applied : .applying
        status.phase = attempt != nil ? .applying : refusal?.phase ?? calm
        status.runningHash = applied?.desired.hash
        status.layers = applied?.desired.policy.layers ?? []
        status.conditions = updateConditions()
        var report = WorkReport(status: status, outcome: outcome, retry: retry)
        report.look = LookResult(
            isBlind: settled.map { !$0.mark.covers($0.backEnd) } ?? true, isSilent: settled?.backEnd == .legacy,
            hasOtherTables: settled?.backEnd == .nft && surroundings?.legacyTables.isEmpty == false,
            rules: (shelf?.count ?? applied?.desired.policy.dnat.count ?? 0) * 4,
            isContended: drift.isContended(clock()),
            again: health.board.wait)
        return report
    }

    /// What is wanted, compiled for the facts of this host.
    func compiling(_ desired: DesiredState, _ facts: HostFacts) throws(TrialFailure) -> CompiledPolicy {
        do throws(CompileError) {
            return try compile(desired.policy, on: facts)
        } catch {
            throw TrialFailure(.refused, brief(error.faults.map { "\($0) (fix: \($0.remedy))" }, limit: 20))
        }
    }

    /// Reading them takes four programs.
    ///
    /// - Parameter isLook: false where those of the last look will do, if nothing has moved since that they tell of.
    func currentFacts(isLook: Bool = true) async throws(TrialFailure) -> HostFacts {
        do throws(KernelError) {
            let (now, news) = (kernel.surroundings(), machinery.networkNews())
            if !isLook, let known = status.facts, isUpToDate(known, now, news) { return known }
            (surroundings, factNews) = (now, nil)
            let facts = try await kernel.facts()
            (status.facts, factNews) = (facts, news)
            return facts
        } catch {
            throw TrialFailure(.failed, error.description)
        }
    }
}

extension Reconciler {
    /// Rules of the other back end are facts, and only nft tells when they change.
    private func isUpToDate(_ facts: HostFacts, _ now: Surroundings, _ news: Int?) -> Bool {
        guard let surroundings, news != nil, news == factNews, now.program == surroundings.program,
            now.legacyTables == surroundings.legacyTables
        else { return false }
        return switch facts.iptables.backend {
        case .nft: now.legacyTables.isEmpty
        case .legacy: now.generation != nil && now.generation == surroundings.generation
        }
    }
}

extension Refusal {
    var condition: Condition {
        switch outcome.result {
        case .reverted: Condition(.trialReverted, outcome.detail)
        case .failed: Condition(cause?.condition ?? .applyFailed, outcome.detail)
        case .refused, .applied: Condition(.policyRefused, outcome.detail)
        }
    }

    var phase: InstanceStatus.Phase {
        switch outcome.result {
        case .reverted: .reverted
        case .failed: .failed
        case .refused, .applied: .refused
        }
    }
}

/// The first few of what may be thousands.
func brief(_ sentences: [String], limit: Int = 5) -> String {
    let more = sentences.count - limit
    return sentences.prefix(limit).joined(separator: "; ") + (more > 0 ? "; and \(more) more" : "")
}
