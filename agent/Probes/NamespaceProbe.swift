// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: natfleet contributors

package import AgentCore
package import Logging
import NATPolicy
package import NetAddress

/// The probe as a private client of this host: a network namespace behind a veth pair, with no rule of its own, so that
/// the policy's own rules carry its packets.
///
/// Approach: made with the first plan and kept; a run is a thread of a millisecond, a datagram a masquerade, and a look
/// at the kernel's flows. Where something is wrong the pair is made anew and asked again, for somebody may have touched
/// it, and only then a culprit is looked for.
///
/// Invariants: no client has an address that somebody was seen to have, and one that was guessed is given up when somebody
/// turns up with it; whose it may be all the same is cut off only while the probe asks. Threading: runs follow one another
/// in the order of the calls.
package actor NamespaceProbe: DataPathProbe {
    /// What was found wrong, with the culprits that were found then.
    private struct Diagnosis {
        let plan: ProbePlan
        let findings: [ProbeFinding]
        let explained: [ProbeFinding]
        /// Until then it is taken to hold.
        let end: ContinuousClock.Instant
    }

    private let programs: ProgramRunner
    private let links: any Links
    private let flows: any FlowTable
    private let chains: NftChainList
    private let log: Logger
    private var client: PrivateClient?
    /// Guessed addresses that somebody was seen to have, and how.
    private var strangers: [IPAddress: String] = [:]
    /// All that were asked so far.
    private var targets: Set<ProbeTarget> = []
    /// When to look for strangers again.
    private var nextLook = ContinuousClock.now
    private var seen = SeenFlows()
    private var diagnosis: Diagnosis?
    private var last: Task<Void, Never>?

    /// - Parameters:
    ///   - links: of the network namespace that the agent runs in.
    ///   - flows: there as well.
    ///   - chains: there as well.
    package init(
        programs: @escaping ProgramRunner, links: any Links, flows: any FlowTable, chains: @escaping NftChainList,
        log: Logger
    ) {
        self.programs = programs
        self.links = links
        self.flows = flows
        self.chains = chains
        self.log = log
    }

    package func run(_ plan: ProbePlan) async -> [ProbeFinding] {
        let previous = last
        let task = Task {
            await previous?.value
            return await findings(plan)
        }
        last = Task { _ = await task.value }
        return await task.value
    }

    package func prepare(_ plan: ProbePlan, tracked: Set<IPAddress>?) async {
        guard !plan.entries.isEmpty else { return }
        await inTurn { try? await self.make(plan, tracked) }
    }

    package func stop() async { await inTurn { await self.remove() } }

    private func inTurn(_ body: @escaping @Sendable () async -> Void) async {
        let previous = last
        let task = Task {
            await previous?.value
            await body()
        }
        last = task
        await task.value
    }

    private func make(_ plan: ProbePlan, _ tracked: Set<IPAddress>?) async throws(KernelError) {
        _ = try await ready(for: plan, tracked)
        // The run that this is for need not look again.
        nextLook = max(nextLook, .now + .seconds(10))
    }

    private func findings(_ plan: ProbePlan) async -> [ProbeFinding] {
        guard !plan.entries.isEmpty else {
            remove()
            return plan.settled
        }
        do throws(KernelError) {
            return plan.settled + (try await ask(plan))
        } catch {
            log.debug("not probed", metadata: ["reason": "\(error)"])
            remove()
            let fact = ProbeFinding.Fact.unknown(error.description)
            return plan.settled + plan.entries.map { ProbeFinding($0.family, $0.masquerade, all: fact) }
        }
    }

    // MARK: Asking

    private func ask(_ plan: ProbePlan) async throws(KernelError) -> [ProbeFinding] {
        if let findings = try? await ask(plan, isLast: false) { return findings }
        // Somebody may have touched the veth pair or the routes.
        remove()
        return try await ask(plan, isLast: true) ?? []
    }

    /// - Returns: nil where something is wrong, unless that is to be found out.
    private func ask(_ plan: ProbePlan, isLast: Bool) async throws(KernelError) -> [ProbeFinding]? {
        let client = try await ready(for: plan)
        let askers = plan.entries.compactMap { entry in client.address(for: entry).map { Asker(entry, $0) } }
        let blocked = plan.entries.filter { client.address(for: $0) == nil }.map(client.blocked)
        try client.addRoutes()
        defer { client.removeRoutes() }
        let datagrams = try await askDatagrams(askers, client).map(\.finding)
        guard isLast || datagrams.allSatisfy({ $0.fault == nil }) else { return nil }
        let connections = try await connect(askers, client).map(\.finding)
        client.removeRoutes()
        let findings = blocked + datagrams + (await askingInstance(connections))
        return await explained(findings, plan, askers, client)
    }

    private func askDatagrams(_ askers: [Asker], _ client: PrivateClient) async throws(KernelError) -> [Question] {
        var datagrams = askers.map { Question($0, nil) }
        // The first may be lost, or late on a busy machine.
        for pause in [0, 10, 50, 200] where datagrams.contains(where: { $0.flow == nil }) {
            let open = datagrams.indices.filter { datagrams[$0].flow == nil }
            let asked = try await send(open.map { datagrams[$0] }, pause: pause, client)
            for (index, question) in zip(open, asked) { datagrams[index] = question }
        }
        return datagrams
    }

    private func connect(_ askers: [Asker], _ client: PrivateClient) async throws(KernelError) -> [Question] {
        let questions = askers.flatMap { asker in asker.entry.targets.map { Question(asker, $0) } }
        var asked = try await send(questions, pause: 0, client)
        // A refusal ends the kernel's entry as well: once more, so that nobody gets to refuse it.
        let refused = asked.indices.filter { asked[$0].flow == nil }
        let short = refused.map { index in
            var question = asked[index]
            question.isShort = true
            return question
        }
        for (index, question) in zip(refused, try await send(short, pause: 10, client)) {
            asked[index].flow = question.flow
        }
        return asked
    }

    private func send(
        _ questions: [Question], pause: Int, _ client: PrivateClient
    ) async throws(KernelError) -> [Question] {
        guard !questions.isEmpty else { return [] }
        let packets = questions.map(\.packet)
        let limit = questions.contains { !$0.isShort } ? connectionLimit : 0
        let sent = try await client.namespace.run { () throws(KernelError) in
            try AgentProbes.send(packets, limit: limit)
        }
        if pause > 0 { try? await Task.sleep(for: .milliseconds(pause)) }
        var asked = questions
        for (index, sent) in zip(asked.indices, sent) {
            asked[index].sent = sent
            if let tuple = packets[index].tuple(from: sent.sourcePort), let flow = try flows.lookup(tuple),
                seen.insert(flow.id)
            {
                asked[index].flow = flow
            }
        }
        return asked
    }

    /// Whether silent targets answer this host itself.
    private func askingInstance(_ findings: [ProbeFinding]) async -> [ProbeFinding] {
        let silent = Set(findings.filter(\.answered.isNo).compactMap(\.target)).sorted()
        guard !silent.isEmpty else { return findings }
        let packets = silent.map { ProbePacket(connectionFrom: nil, to: $0) }
        let sent = try? await onNewThread { () throws(KernelError) in
            try AgentProbes.send(packets, limit: connectionLimit)
        }
        guard let sent else { return findings }
        let answers = Dictionary(uniqueKeysWithValues: zip(silent, sent))
        return findings.map { finding in
            guard finding.answered.isNo, let answer = finding.target.flatMap({ answers[$0] }) else { return finding }
            var finding = finding
            finding.answersInstance = answer.silence.map { .no($0) } ?? .yes
            return finding
        }
    }

    /// Adds who is to blame, for the first few: one rule mostly explains them all. While nothing changes, looking takes no
    /// more than a hundredth of the time.
    private func explained(
        _ findings: [ProbeFinding], _ plan: ProbePlan, _ askers: [Asker], _ client: PrivateClient
    ) async -> [ProbeFinding] {
        let blocked = findings.indices.filter { findings[$0].forwarded.isNo }.prefix(4)
        guard !blocked.isEmpty else {
            diagnosis = nil
            return findings
        }
        let start = ContinuousClock.now
        if let diagnosis, diagnosis.plan == plan, diagnosis.findings == findings, start < diagnosis.end {
            return diagnosis.explained
        }
        let search = CulpritSearch(
            programs: programs, chains: chains, namespace: client.namespace, iptables: plan.iptables)
        try? client.addRoutes()
        defer { client.removeRoutes() }
        var explained = findings
        for index in blocked {
            let finding = findings[index]
            let asker = askers.first {
                $0.entry.family == finding.family && $0.entry.masquerade == finding.masquerade
            }
            guard let asker else { continue }
            var question = Question(asker, finding.target)
            question.isShort = true
            let culprit = await search.culprit(of: question.packet)
            explained[index].forwarded = .no(
                [culprit, asker.entry.suspicion].compactMap(\.self).joined(separator: "; "))
        }
        let end = ContinuousClock.now
        diagnosis = Diagnosis(
            plan: plan, findings: findings, explained: explained, end: end + start.duration(to: end) * 100)
        return explained
    }

    // MARK: The client

    private func ready(
        for plan: ProbePlan, _ tracked: Set<IPAddress>? = nil
    ) async throws(KernelError) -> PrivateClient {
        targets.formUnion(plan.entries.flatMap(\.targets))
        if let client, client.choices == plan.entries.map(\.clients), try isAlone(client, tracked) {
            return client
        }
        client = nil
        var inUse = try look(for: plan.clients, tracked)
        inUse.merge(strangers) { now, _ in now }
        let made = try await PrivateClient.make(plan, not: inUse, links)
        client = made
        return made
    }

    /// Whether nobody turned up with an address that was guessed, nor left one that is better. Looking takes no more than a
    /// four-thousandth of the time: with the largest tables it is left out every other time.
    private func isAlone(_ client: PrivateClient, _ tracked: Set<IPAddress>?) throws(KernelError) -> Bool {
        let (guesses, missed) = (client.guesses, client.missed.subtracting(strangers.keys))
        guard !guesses.isEmpty || !missed.isEmpty, ContinuousClock.now >= nextLook else { return true }
        let start = ContinuousClock.now
        let found = try look(for: guesses.union(missed), tracked)
        nextLook = .now + start.duration(to: .now) * 4000
        let seen = found.filter { guesses.contains($0.key) }
        guard !seen.isEmpty else { return missed.isSubset(of: found.keys) }
        strangers.merge(seen) { $1 }
        let who = seen.map { "\($0.key) \($0.value)" }.sorted().joined(separator: ", ")
        log.notice("the probe's client gives up its address, which is somebody's", metadata: ["seen": "\(who)"])
        return false
    }

    private func look(
        for addresses: Set<IPAddress>, _ tracked: Set<IPAddress>?
    ) throws(KernelError) -> [IPAddress: String] {
        try AddressUse(links: links, flows: flows).seen(addresses, asking: targets, tracked: tracked)
    }

    private func remove() {
        client = nil
        PrivateClient.delete(links)
    }
}

/// Milliseconds: a lost SYN is sent again after one second, and once more after three.
private let connectionLimit: Int32 = 3_500

/// Flows of what was asked before. The kernel remembers them for half a minute: a packet that comes from the same port by chance
/// is no news of whether it got out.
struct SeenFlows {
    /// More than there are in half a minute, of a policy of many entries too.
    private static let limit = 4096

    private var ids: Set<UInt32> = []
    private var order: [UInt32] = []

    /// - Returns: whether this one is new.
    mutating func insert(_ id: UInt32) -> Bool {
        guard ids.insert(id).inserted else { return false }
        order.append(id)
        if order.count > Self.limit {
            ids.subtract(order.prefix(Self.limit / 2))
            order.removeFirst(Self.limit / 2)
        }
        return true
    }
}

/// Who asks for an entry of a plan.
private struct Asker {
    let entry: ProbePlan.Entry
    let address: IPAddress

    init(_ entry: ProbePlan.Entry, _ address: IPAddress) { (self.entry, self.address) = (entry, address) }
}

/// Something that a client asks the network, and what came of it.
private struct Question {
    let entry: ProbePlan.Entry
    let client: IPAddress
    let target: ProbeTarget?
    /// For nobody to answer.
    var isShort: Bool
    var sent: SentPacket?
    var flow: TrackedFlow?

    init(_ asker: Asker, _ target: ProbeTarget?) {
        (entry, client) = (asker.entry, asker.address)
        self.target = target
        isShort = target == nil
    }

    var packet: ProbePacket {
        if let target { return ProbePacket(connectionFrom: client, to: target, isShort: isShort) }
        return ProbePacket(datagramFrom: client, to: entry.destination)
    }

    var finding: ProbeFinding {
        var finding = ProbeFinding(
            family: entry.family, masquerade: entry.masquerade, target: target, forwarded: .yes, translated: .yes)
        if target != nil { finding.answered = sent?.silence.map { .no($0) } ?? .yes }
        guard let flow else {
            finding.forwarded = .no(entry.suspicion ?? "no packet of \(client) gets out")
            finding.translated = .unasked("nothing was forwarded")
            return finding
        }
        let seen = flow.reply.destination
        guard !entry.addresses.contains(seen), !addresses(of: entry.interface).contains(seen) else { return finding }
        let what =
            seen == client
            ? "\(client) leaves under its own address"
            : "\(client) leaves as \(seen), which is no address of \(entry.interface)"
        finding.translated = .no([what, entry.suspicion].compactMap(\.self).joined(separator: "; "))
        return finding
    }
}
