// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: natfleet contributors

package import AgentCore
package import Logging
import NATPolicy
import NetAddress

/// The probe as a private client of this host: a network namespace behind a veth pair, with no rule of its own, so that
/// the policy's own rules carry its packets.
///
/// Approach: made with the first plan and kept; a run is a thread of a millisecond, a datagram a masquerade, and a look
/// at the kernel's flows. Where something is wrong the pair is made anew and asked again, for somebody may have touched
/// it, and only then a culprit is looked for. Threading: runs follow one another in the order of the calls.
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
    private let lookup: FlowLookup
    private let chains: NftChainList
    private let log: Logger
    private var client: PrivateClient?
    private var diagnosis: Diagnosis?
    private var last: Task<Void, Never>?

    /// - Parameters:
    ///   - lookup: in the network namespace that the agent runs in.
    ///   - chains: there as well.
    package init(
        programs: @escaping ProgramRunner, lookup: @escaping FlowLookup, chains: @escaping NftChainList, log: Logger
    ) {
        self.programs = programs
        self.lookup = lookup
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

    package func stop() async {
        let previous = last
        let task = Task {
            await previous?.value
            await remove()
        }
        last = task
        await task.value
    }

    private func findings(_ plan: ProbePlan) async -> [ProbeFinding] {
        guard !plan.entries.isEmpty else {
            await remove()
            return plan.settled
        }
        do throws(KernelError) {
            return plan.settled + (try await ask(plan))
        } catch {
            log.debug("not probed", metadata: ["reason": "\(error)"])
            await remove()
            let fact = ProbeFinding.Fact.unknown(error.description)
            return plan.settled + plan.entries.map { ProbeFinding($0.family, $0.masquerade, all: fact) }
        }
    }

    // MARK: Asking

    private func ask(_ plan: ProbePlan) async throws(KernelError) -> [ProbeFinding] {
        var datagrams = try? await askDatagrams(plan)
        if datagrams?.contains(where: { $0.finding.fault != nil }) ?? true {
            // Somebody may have touched the veth pair or the routes.
            await remove()
            datagrams = try await askDatagrams(plan)
        }
        let client = try await ready(for: plan)
        let connections = try await connect(client.entries(of: plan), client)
        let findings =
            client.blocked(plan) + (datagrams ?? []).map(\.finding)
            + (await askingInstance(connections.map(\.finding)))
        return await explained(findings, plan, client)
    }

    private func askDatagrams(_ plan: ProbePlan) async throws(KernelError) -> [Question] {
        let client = try await ready(for: plan)
        var datagrams = client.entries(of: plan).map { Question($0, nil) }
        // The first may be lost, or late on a busy machine.
        for pause in [0, 10, 50, 200] where datagrams.contains(where: { $0.flow == nil }) {
            let open = datagrams.indices.filter { datagrams[$0].flow == nil }
            let asked = try await send(open.map { datagrams[$0] }, pause: pause, client)
            for (index, question) in zip(open, asked) { datagrams[index] = question }
        }
        return datagrams
    }

    private func connect(
        _ entries: [ProbePlan.Entry], _ client: PrivateClient
    ) async throws(KernelError) -> [Question] {
        let questions = entries.flatMap { entry in entry.targets.map { Question(entry, $0) } }
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
            if let tuple = packets[index].tuple(from: sent.sourcePort) { asked[index].flow = try lookup(tuple) }
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
        _ findings: [ProbeFinding], _ plan: ProbePlan, _ client: PrivateClient
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
        var explained = findings
        for index in blocked {
            let finding = findings[index]
            let entry = plan.entries.first { $0.family == finding.family && $0.masquerade == finding.masquerade }
            guard let entry else { continue }
            var question = Question(entry, finding.target)
            question.isShort = true
            let culprit = await search.culprit(of: question.packet)
            explained[index].forwarded = .no([culprit, entry.suspicion].compactMap(\.self).joined(separator: "; "))
        }
        let end = ContinuousClock.now
        diagnosis = Diagnosis(
            plan: plan, findings: findings, explained: explained, end: end + start.duration(to: end) * 100)
        return explained
    }

    // MARK: The client

    private func ready(for plan: ProbePlan) async throws(KernelError) -> PrivateClient {
        let network = ProbeNetwork(clients: plan.entries.map(\.client))
        if let client, client.network == network { return client }
        client = nil
        let made = try await PrivateClient.make(network, programs)
        client = made
        return made
    }

    private func remove() async {
        client = nil
        await PrivateClient.delete(programs)
    }
}

/// Milliseconds: a lost SYN is sent again after one second, and once more after three.
private let connectionLimit: Int32 = 3_500

/// Something that a client asks the network, and what came of it.
private struct Question {
    let entry: ProbePlan.Entry
    let target: ProbeTarget?
    /// For nobody to answer.
    var isShort: Bool
    var sent: SentPacket?
    var flow: TrackedFlow?

    init(_ entry: ProbePlan.Entry, _ target: ProbeTarget?) {
        self.entry = entry
        self.target = target
        isShort = target == nil
    }

    var packet: ProbePacket {
        if let target { return ProbePacket(connectionFrom: entry.client, to: target, isShort: isShort) }
        return ProbePacket(datagramFrom: entry.client, to: entry.destination)
    }

    var finding: ProbeFinding {
        var finding = ProbeFinding(
            family: entry.family, masquerade: entry.masquerade, target: target, forwarded: .yes, translated: .yes)
        if target != nil { finding.answered = sent?.silence.map { .no($0) } ?? .yes }
        guard let flow else {
            finding.forwarded = .no(entry.suspicion ?? "no packet of \(entry.client) gets out")
            finding.translated = .unasked("nothing was forwarded")
            return finding
        }
        let seen = flow.reply.destination
        guard !entry.addresses.contains(seen) else { return finding }
        let what =
            seen == entry.client
            ? "\(entry.client) leaves under its own address"
            : "\(entry.client) leaves as \(seen), which is no address of \(entry.interface)"
        finding.translated = .no([what, entry.suspicion].compactMap(\.self).joined(separator: "; "))
        return finding
    }
}
