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
        let at: ContinuousClock.Instant
    }

    private let programs: ProgramRunner
    private let lookup: FlowLookup
    private let log: Logger
    private var client: PrivateClient?
    private var diagnosis: Diagnosis?
    private var last: Task<Void, Never>?

    /// - Parameter lookup: in the network namespace that the agent runs in.
    package init(programs: @escaping ProgramRunner, lookup: @escaping FlowLookup, log: Logger) {
        self.programs = programs
        self.lookup = lookup
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
            return plan.settled + (try await askTwice(plan))
        } catch {
            log.warning("not probed", metadata: ["reason": "\(error)"])
            await remove()
            let fact = ProbeFinding.Fact.unknown(error.description)
            return plan.settled + plan.entries.map { ProbeFinding($0.family, $0.masquerade, all: fact) }
        }
    }

    private func askTwice(_ plan: ProbePlan) async throws(KernelError) -> [ProbeFinding] {
        do throws(KernelError) {
            let first = try await ask(plan)
            guard first.contains(where: { $0.fault != nil }) else {
                diagnosis = nil
                return first
            }
            if let diagnosis, diagnosis.plan == plan, diagnosis.findings == first,
                diagnosis.at.duration(to: .now) < .seconds(300)
            {
                return diagnosis.explained
            }
        } catch {
            log.debug("probe made anew", metadata: ["reason": "\(error)"])
        }
        await remove()
        let second = try await ask(plan)
        let explained = await explain(second, plan)
        diagnosis = Diagnosis(plan: plan, findings: second, explained: explained, at: .now)
        return explained
    }

    private func explain(_ findings: [ProbeFinding], _ plan: ProbePlan) async -> [ProbeFinding] { findings }

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

    // MARK: Asking

    private func ask(_ plan: ProbePlan) async throws(KernelError) -> [ProbeFinding] {
        let client = try await ready(for: plan)
        var findings: [ProbeFinding] = []
        for entry in plan.entries where client.taken.contains(entry.client) {
            let reason = "\(entry.client), which should be nobody's, is in the neighbour table"
            findings.append(ProbeFinding(entry.family, entry.masquerade, all: .unasked(reason)))
        }
        let entries = plan.entries.filter { !client.taken.contains($0.client) }
        var datagrams = entries.map { Question($0, nil) }
        // The first may be lost, or late on a busy machine.
        for pause in [0, 10, 100, 400] where datagrams.contains(where: { $0.flow == nil }) {
            let open = datagrams.indices.filter { datagrams[$0].flow == nil }
            let asked = try await send(open.map { datagrams[$0] }, pause: pause, in: client.namespace)
            for (index, question) in zip(open, asked) { datagrams[index] = question }
        }
        let connections = entries.flatMap { entry in entry.targets.map { Question(entry, $0) } }
        let asked = try await send(connections, pause: 0, in: client.namespace)
        return findings + (await askingInstance((datagrams + asked).map(\.finding)))
    }

    private func send(
        _ questions: [Question], pause: Int, in namespace: NetworkNamespace
    ) async throws(KernelError) -> [Question] {
        guard !questions.isEmpty else { return [] }
        let packets = questions.map(\.packet)
        let sent = try await namespace.run { () throws(KernelError) in
            try AgentProbes.send(packets, limit: connectionLimit)
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
}

/// Milliseconds: a lost SYN is sent again after one second, and once more after three.
private let connectionLimit: Int32 = 3_500

/// Something that a client asks the network, and what came of it.
private struct Question {
    let entry: ProbePlan.Entry
    let target: ProbeTarget?
    var sent: SentPacket?
    var flow: TrackedFlow?

    init(_ entry: ProbePlan.Entry, _ target: ProbeTarget?) {
        self.entry = entry
        self.target = target
    }

    var packet: ProbePacket {
        if let target { return ProbePacket(connectionFrom: entry.client, to: target) }
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
