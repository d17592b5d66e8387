// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: natfleet contributors

import ControllerCore
import ControllerStore
import FleetAPI
import FleetModel
import Foundation
import NATPolicy
import Testing

/// The long-poll: what is answered at once, what is held, what wakes it, what is written.
struct CheckinTests {
    @Test func whatIsWantedIsAnsweredAtOnceWithItsHash() async throws {
        try await TestFleet.with { test in
            let agent = try await test.enroll("i-1", labels: ["vpc": "prod"])
            let nothing = try #require(try await test.checkin(agent, wait: 50).desired)
            #expect(nothing == DesiredState(hash: EffectivePolicy.none.hash, policy: .none))
            try await test.apply(policy("web"))
            let desired = try #require(try await test.checkin(agent, answered: nothing.hash, wait: 50).desired)
            #expect(desired.hash == desired.policy.hash)
            #expect(desired.policy.layers == [.init(policy: "web", revision: 1)])
        }
    }

    @Test(arguments: ["apply", "undo", "delete"])
    func aChangeWakesTheHeldCheckin(by change: String) async throws {
        try await TestFleet.with { test in
            let agent = try await test.enroll("i-1", labels: ["vpc": "prod"])
            try await test.apply(policy("web"))
            try await test.apply(policy("web", source: "10.1.0.0/16"))
            let before = try #require(try await test.checkin(agent).desired)
            async let held = test.checkin(agent, answered: before.hash, wait: 50)
            #expect(try await eventually { test.fleet.hub.waiting == 1 })
            switch change {
            case "undo": _ = try await test.fleet.undo("web", to: nil, by: TestFleet.admin)
            case "delete": _ = try await test.fleet.delete(["web"], by: TestFleet.admin)
            default: try await test.apply(policy("web", source: "10.2.0.0/16"))
            }
            let answer = try #require(try await held.desired)
            #expect(answer.hash != before.hash)
            #expect(answer.policy.layers.map(\.revision) == (change == "delete" ? [] : [3]))
            #expect(test.fleet.hub.waiting == 0)
        }
    }

    @Test func aChangeForOthersDoesNotWakeIt() async throws {
        try await TestFleet.with { test in
            let agent = try await test.enroll("i-1", labels: ["vpc": "prod"])
            let hash = EffectivePolicy.none.hash
            let held = Task { try await test.checkin(agent, answered: hash, wait: 50) }
            #expect(try await eventually { test.fleet.hub.waiting == 1 })
            try await test.apply(policy("web", labels: ["vpc": "test"]))
            try await Task.sleep(for: .milliseconds(50))
            #expect(test.fleet.hub.waiting == 1)
            held.cancel()
            _ = try await held.value
        }
    }

    @Test func theHoldEndsUnchangedAfterAtMostFiftySeconds() async throws {
        let limits = Recorder<Duration>()
        try await TestFleet.with(sleep: { limits.add($0) }) { test in
            let agent = try await test.enroll("i-1")
            let answer = try await test.checkin(agent, answered: EffectivePolicy.none.hash, wait: 3600)
            #expect(answer == CheckinResponse())
            let limit = try #require(limits.values.first)
            #expect(limit <= .seconds(50) && limit > .seconds(45))
        }
    }

    @Test(arguments: [0, -5])
    func withoutAWaitNothingIsHeld(wait: Int) async throws {
        try await TestFleet.with(sleep: { _ in Issue.record("held") }) { test in
            let agent = try await test.enroll("i-1")
            let answer = try await test.checkin(agent, answered: EffectivePolicy.none.hash, wait: wait)
            #expect(answer == CheckinResponse())
        }
    }

    @Test func anOutcomeIsNeverHeldAndIsOneEvent() async throws {
        try await TestFleet.with(sleep: { _ in Issue.record("held") }) { test in
            let agent = try await test.enroll("i-1", labels: ["vpc": "prod"])
            try await test.apply(policy("web"))
            let desired = try #require(try await test.checkin(agent).desired)
            let outcome = Outcome(
                hash: desired.hash, result: .applied, detail: "ipv4 over eth0",
                at: Date(timeIntervalSince1970: 1_790_000_000))
            for _ in 0..<2 {
                let answer = try await test.checkin(
                    agent, .running(desired), outcome: outcome, answered: desired.hash, wait: 50)
                #expect(answer == CheckinResponse())
            }
            #expect(try await test.eventKinds().filter { $0 == "instance.applied" }.count == 1)
            let instance = try await test.fleet.instance("i-1")
            #expect(instance.lastOutcome == outcome)
            #expect(instance.health == .healthy)
            #expect(
                try await test.fleet.policy("web").instances == [
                    PolicyMember(instance: "i-1", assigned: 1, running: 1, health: .healthy)
                ])
        }
    }

    @Test func aLaterCheckinOfTheInstanceEndsTheHeldOne() async throws {
        try await TestFleet.with { test in
            let agent = try await test.enroll("i-1")
            let hash = EffectivePolicy.none.hash
            async let first = test.checkin(agent, answered: hash, wait: 50)
            #expect(try await eventually { test.fleet.hub.waiting == 1 })
            #expect(try await test.checkin(agent, answered: hash) == CheckinResponse())
            #expect(try await first == CheckinResponse())
            #expect(test.fleet.hub.waiting == 0)
        }
    }

    @Test func whenTheControllerStopsTheHeldAnswerSpreadsTheReturn() async throws {
        try await TestFleet.with { test in
            let agent = try await test.enroll("i-1")
            let held = Task { try await test.checkin(agent, answered: EffectivePolicy.none.hash, wait: 50) }
            #expect(try await eventually { test.fleet.hub.waiting == 1 })
            held.cancel()
            #expect((1...5).contains(try await held.value.nextAfter))
        }
    }

    @Test func anInstanceInAConflictKeepsWhatItHasAndHearsWhyOnce() async throws {
        let limits = Recorder<Duration>()
        try await TestFleet.with(sleep: { limits.add($0) }) { test in
            try await test.apply(policy("a", labels: ["a": "x"], ports: [8001]))
            try await test.apply(policy("b", labels: ["b": "x"], ports: [8001]))
            let agent = try await test.enroll("i-1", labels: ["a": "x", "b": "x"])
            let answer = try await test.checkin(agent, wait: 50)
            #expect(answer.desired == nil)
            let reason = try #require(answer.hold)
            #expect(reason.contains("'a'") && reason.contains("'b'"))
            #expect(limits.values.isEmpty)
            // Told already: held like anything that is not news.
            #expect(try await test.checkin(agent, wait: 50).hold == reason)
            #expect(limits.values.count == 1)
            let instance = try await test.fleet.instance("i-1")
            #expect(instance.health == .degraded)
            #expect(instance.status?.conditions.map(\.code) == ["layers-conflict"])
            #expect(instance.desiredLayers.map(\.policy) == ["a", "b"])
        }
    }

    @Test func statusIsWrittenWhenItChangesAndOnlyThen() async throws {
        try await TestFleet.with { test in
            let agent = try await test.enroll("i-1")
            func changedAt() async throws -> Timestamp? {
                try await test.store.read { try $0.status(instance: "i-1") }?.changedAt
            }
            _ = try await test.checkin(agent)
            let first = try #require(try await changedAt())
            test.clock.advance(10)
            _ = try await test.checkin(agent)
            #expect(try await changedAt() == first)
            _ = try await test.checkin(agent, InstanceStatus(phase: .applying, agentVersion: "test"))
            #expect(try await changedAt() == Timestamp(test.clock.now))
        }
    }

    @Test func lastSeenIsInMemoryUntilTheFlush() async throws {
        try await TestFleet.with { test in
            let agent = try await test.enroll("i-1")
            _ = try await test.checkin(agent)
            #expect(try await test.fleet.instance("i-1").lastSeen == test.clock.now)
            #expect(try await test.store.read { try $0.instance("i-1") }?.lastSeen == nil)
            try await test.fleet.flushSeen()
            #expect(try await test.store.read { try $0.instance("i-1") }?.lastSeen == Timestamp(test.clock.now))
        }
    }
}

/// Health as operators see it.
struct HealthTests {
    struct Case: CustomTestStringConvertible, Sendable {
        let testDescription: String
        let applied: Bool
        let status: @Sendable (DesiredState) -> InstanceStatus
        let silence: TimeInterval
        let health: Instance.Health

        init(
            _ description: String, applied: Bool = true, silence: TimeInterval = 0, _ health: Instance.Health,
            _ status: @escaping @Sendable (DesiredState) -> InstanceStatus
        ) {
            testDescription = description
            self.applied = applied
            self.status = status
            self.silence = silence
            self.health = health
        }
    }

    static let cases: [Case] = [
        Case("runs what is wanted", .healthy) { .running($0) },
        Case("silent for 150 s", silence: 150, .healthy) { .running($0) },
        Case("silent for longer", silence: 151, .offline) { .running($0) },
        Case("a warning", .healthy) { .running($0, conditions: [Condition(.driftRepaired, "eth1")]) },
        Case("something critical", .degraded) { .running($0, conditions: [Condition(.notPersisted, "disk")]) },
        Case("runs something else", .degraded) { _ in
            InstanceStatus(phase: .applied, runningHash: EffectivePolicy.none.hash, agentVersion: "test")
        },
        Case("applying", .degraded) { desired in
            InstanceStatus(phase: .applying, runningHash: desired.hash, agentVersion: "test")
        },
        Case("refused", .degraded) { _ in InstanceStatus(phase: .refused, agentVersion: "test") },
        Case("idle although something is wanted", .degraded) { _ in .idle },
        Case("idle and nothing is wanted", applied: false, .healthy) { _ in .idle },
        Case("nothing is wanted and nothing runs", applied: false, .healthy) { .running($0) },
        Case("something runs that is not wanted", applied: false, .degraded) { _ in
            InstanceStatus(phase: .idle, runningHash: String(repeating: "0", count: 64), agentVersion: "test")
        },
    ]

    @Test(arguments: cases)
    func healthIs(_ row: Case) async throws {
        try await TestFleet.with { test in
            let agent = try await test.enroll("i-1", labels: ["vpc": "prod"])
            if row.applied { try await test.apply(policy("web")) }
            let desired = try #require(try await test.checkin(agent).desired)
            _ = try await test.checkin(agent, row.status(desired))
            test.clock.advance(row.silence)
            #expect(try await test.fleet.instance("i-1").health == row.health)
        }
    }

    @Test func anInstanceThatNeverCheckedInIsUnknown() async throws {
        try await TestFleet.with { test in
            try await test.enroll("i-1")
            test.clock.advance(3600)
            #expect(try await test.fleet.instance("i-1").health == .unknown)
        }
    }
}
