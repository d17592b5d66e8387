// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: natfleet contributors

package import FleetAPI
import FleetModel
import Logging
import NATPolicy
import Synchronization

extension Fleet {
    /// The longest that a check-in is held.
    package static let longestHold = 50

    /// Status up, desired state down; held while there is nothing new to say.
    ///
    /// Costs a few small reads of the store and writes only what changed. Answers at once when what is wanted is not what the
    /// agent last heard, when an operator asked for another try since, and when the request carries an outcome.
    package func checkin(_ request: CheckinRequest, from agent: AgentIdentity) async throws -> CheckinResponse {
        let id = agent.instance
        var ticket = hub.arrive(id)
        let now = self.now
        seen.withLock { $0[id] = now }
        tally.withLock { $0.checkins += 1 }
        try await record(request, from: agent)

        let deadline = ContinuousClock.now + .seconds(min(max(request.wait, 0), Self.longestHold))
        while true {
            let wanted = try await wanted(by: agent)
            if let response = news(wanted, for: id, answering: request) { return response }
            let left = deadline - .now
            if request.outcome != nil || left <= .zero { return CheckinResponse(hold: wanted.hold) }
            switch await hub.wait(&ticket, atMost: left) {
            case .changed: continue
            case .timedOut: return CheckinResponse(hold: wanted.hold)
            case .displaced: return CheckinResponse()
            case .cancelled:
                // The controller stops: agents must not come back in step.
                return CheckinResponse(nextAfter: 1 + Int((surroundings.randomBytes(1).first ?? 0) % 5))
            }
        }
    }

    /// What to say at once; nil when the agent knows it already.
    private func news(_ wanted: Wanted, for id: String, answering request: CheckinRequest) -> CheckinResponse? {
        switch wanted {
        case .run(let desired):
            toldHold.withLock { $0[id] = nil }
            // An agent that does not know attempts would try the same thing again and again.
            let isAskedAgain = request.answeredAttempt.map { (desired.attempt ?? 0) > $0 } ?? false
            return desired.hash == request.answeredHash && !isAskedAgain ? nil : CheckinResponse(desired: desired)
        case .conflict:
            let told = toldHold.withLock { told in
                defer { told[id] = wanted.hold }
                return told[id]
            }
            return told == wanted.hold ? nil : CheckinResponse(hold: wanted.hold)
        }
    }

    /// - Throws: `FleetError` unauthorized: an instance that was forgotten while its check-in was held must not hear that
    ///   nothing is wanted, since it would take its rules away.
    private func wanted(by agent: AgentIdentity) async throws -> Wanted {
        let layers = self.layers
        return try await store.read { store in
            _ = try Self.check(agent, in: store)
            let wanted = try layers.wanted(try store.assignments(instance: agent.instance).map(\.layer), in: store)
            return wanted.asked(try store.instance(agent.instance)?.attempt ?? 0)
        }
    }

    /// Writes status and outcome when they say something new.
    private func record(_ request: CheckinRequest, from agent: AgentIdentity) async throws {
        let id = agent.instance
        let status = request.status
        let before = try await store.read { try $0.status(instance: id) }
        let outcome = request.outcome ?? before?.outcome
        guard before?.status != status || before?.outcome != outcome else { return }
        let now = self.now
        // Sent again after a lost answer, an outcome is no second event.
        let news = request.outcome.flatMap { $0 == before?.outcome ? nil : $0 }
        try await store.write { store in
            _ = try Self.check(agent, in: store)
            try store.save(StatusRow(instance: id, status: status, outcome: outcome, changedAt: now))
            guard let news else { return }
            try store.append(
                NewEvent(
                    at: now, actor: agent.actor, kind: "instance.\(news.result.rawValue)", subject: "instance/\(id)",
                    detail: "\(news.hash.prefix(12)): \(news.detail)"))
        }
        if let news { tally.withLock { $0.outcomes[news.result, default: 0] += 1 } }
        logger.info(
            "instance reports",
            metadata: [
                "instance": "\(id)", "phase": "\(status.phase.rawValue)",
                "running": "\(status.runningHash?.prefix(12) ?? "none")",
                "conditions": "\(status.conditions.map(\.code).joined(separator: ","))",
            ])
    }

    /// Stores the times at which agents were last heard, in one batch.
    package func flushSeen() async throws {
        let batch = seen.withLock { $0 }
        guard !batch.isEmpty else { return }
        try await store.write { try $0.recordSeen(batch) }
        seen.withLock { seen in
            for (id, time) in batch where seen[id] == time { seen[id] = nil }
        }
    }
}
