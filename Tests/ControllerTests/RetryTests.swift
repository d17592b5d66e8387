// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: natfleet contributors

import ControllerCore
import ControllerPKI
import ControllerStore
import FleetAPI
import FleetModel
import Foundation
import GRDB
import NATPolicy
import Testing

/// An operator has something tried again: who hears of it, when, and how long it is remembered.
struct RetryTests {
    /// An instance that ran nothing and reverted what it should run.
    private func reverted(_ test: TestFleet, _ agent: AgentIdentity) async throws -> String {
        let desired = try #require(try await test.checkin(agent).desired)
        #expect(desired.attempt == nil)
        let outcome = Outcome(hash: desired.hash, result: .reverted, detail: "no answer", at: test.clock.now)
        _ = try await test.checkin(agent, Self.status, outcome: outcome, answered: desired.hash)
        return desired.hash
    }

    private static let status = InstanceStatus(phase: .reverted, agentVersion: "test")

    private func checkin(
        _ test: TestFleet, _ agent: AgentIdentity, _ hash: String, _ attempt: Int?, wait: Int = 0
    ) async throws -> DesiredState? {
        try await test.fleet.checkin(
            CheckinRequest(status: Self.status, answeredHash: hash, answeredAttempt: attempt, wait: wait),
            from: agent
        ).desired
    }

    @Test func theHeldCheckinHearsOfItAtOnceAndOnce() async throws {
        try await TestFleet.with { test in
            try await test.apply(policy("web"))
            let agent = try await test.enroll("i-1", labels: ["vpc": "prod"])
            let hash = try await reverted(test, agent)
            async let held = checkin(test, agent, hash, 0, wait: 50)
            #expect(try await eventually { test.fleet.hub.waiting == 1 })
            let answer = try await test.fleet.retry("i-1", by: TestFleet.admin)
            #expect(answer.failedTry?.result == .reverted)
            let told = try #require(try await held)
            #expect(told.hash == hash && told.policy.layers == [.init(policy: "web", revision: 1)])
            let attempt = try #require(told.attempt)
            #expect(try await checkin(test, agent, hash, attempt) == nil)
            let event = try #require(try await test.fleet.events(EventFilter(limit: 1)).first)
            #expect(event.kind == "instance.retried" && event.actor == "operator:admin")
            #expect(event.subject == "instance/i-1" && event.detail == "\(hash.prefix(12)), which it reverted")
            // The clock may stand still or be put back.
            test.clock.advance(-60)
            _ = try await test.fleet.retry("i-1", by: TestFleet.admin)
            #expect(try await checkin(test, agent, hash, attempt)?.attempt == attempt + 1)
        }
    }

    /// Told, it would ask again and again.
    @Test func anAgentThatDoesNotKnowAttemptsIsNotToldOfThem() async throws {
        try await TestFleet.with { test in
            try await test.apply(policy("web"))
            let agent = try await test.enroll("i-1", labels: ["vpc": "prod"])
            let hash = try await reverted(test, agent)
            _ = try await test.fleet.retry("i-1", by: TestFleet.admin)
            #expect(try await checkin(test, agent, hash, nil) == nil)
        }
    }

    @Test func othersAreLeftAlone() async throws {
        try await TestFleet.with { test in
            try await test.apply(policy("web"))
            let agents = [
                try await test.enroll("i-1", labels: ["vpc": "prod"]),
                try await test.enroll("i-2", labels: ["vpc": "prod"]),
            ]
            for agent in agents { _ = try await reverted(test, agent) }
            _ = try await test.fleet.retry("i-1", by: TestFleet.admin)
            #expect(try await test.checkin(agents[1]).desired?.attempt == nil)
            #expect(try await test.checkin(agents[0]).desired?.attempt != nil)
        }
    }

    @Test(arguments: [false, true])
    func itOutlivesTheController(isRestored: Bool) async throws {
        let path = temporaryPath()
        let backup = "\(path)-backup"
        defer { for path in [path, backup] { try? FileManager.default.removeItem(atPath: path) } }
        var agent = AgentIdentity(instance: "", serial: "")
        var hash = ""
        do {
            let test = try TestFleet(path: path)
            try await test.apply(policy("web"))
            agent = try await test.enroll("i-1", labels: ["vpc": "prod"])
            hash = try await reverted(test, agent)
            _ = try await test.fleet.retry("i-1", by: TestFleet.admin)
            try backUp(
                path, to: backup, database: "natfleet.db", needed: [FleetAuthority.file],
                copyDatabase: SQLiteStore.copy)
        }
        let test = try TestFleet(path: isRestored ? backup : path)
        #expect(try await checkin(test, agent, hash, 0)?.attempt == Int(Timestamp(test.clock.now).milliseconds))
    }

    @Test func aRequestAfterAnEnrolmentAnewIsLaterThanThoseBefore() async throws {
        try await TestFleet.with { test in
            try await test.apply(policy("web"))
            var attempts: [Int] = []
            for _ in 0..<2 {
                let agent = try await test.enroll("i-1", labels: ["vpc": "prod"])
                let hash = try await reverted(test, agent)
                _ = try await test.fleet.retry("i-1", by: TestFleet.admin)
                attempts.append(try #require(try await checkin(test, agent, hash, 0)?.attempt))
                _ = try await test.fleet.forget("i-1", by: TestFleet.admin)
                test.clock.advance(1)
            }
            #expect(attempts[0] < attempts[1])
        }
    }

    @Test(arguments: ["running", "nothing", "waiting", "changed", "conflict"])
    func whereThereIsNothingToTryAgainItIsRefused(_ state: String) async throws {
        try await TestFleet.with { test in
            if state != "nothing" { try await test.apply(policy("web", ports: [8001])) }
            if state == "conflict" { try await test.apply(policy("b", labels: ["b": "x"], ports: [8001])) }
            let agent = try await test.enroll("i-1", labels: ["vpc": "prod", "b": "x"])
            switch state {
            case "running":
                let desired = try #require(try await test.checkin(agent).desired)
                _ = try await test.checkin(
                    agent, .running(desired),
                    outcome: Outcome(hash: desired.hash, result: .applied, detail: "", at: test.clock.now))
            case "changed":
                _ = try await reverted(test, agent)
                try await test.apply(policy("web", source: "10.1.0.0/16"))
            default: break
            }
            let error = try await failure { try await test.fleet.retry("i-1", by: TestFleet.admin) }
            let why =
                switch state {
                case "running", "nothing": "it runs what it should"
                case "conflict": "its policies conflict"
                default: "it has not tried yet what it should run"
                }
            #expect(error.code == .conflict)
            #expect(error.message == "instance 'i-1' has nothing to try again: \(why)")
            #expect(!(try await test.eventKinds().contains("instance.retried")))
            #expect(try await test.checkin(agent).desired?.attempt == nil)
        }
    }

    @Test func anInstanceThatIsNotThereIsNotFound() async throws {
        try await TestFleet.with { test in
            let error = try await failure { try await test.fleet.retry("i-9", by: TestFleet.admin) }
            #expect(error.code == .notFound)
        }
    }

    @Test func aDatabaseFromBeforeGetsItsColumn() async throws {
        let path = temporaryPath()
        defer { try? FileManager.default.removeItem(atPath: path) }
        do {
            let test = try TestFleet(path: path)
            try await test.enroll("i-1", labels: ["vpc": "prod"])
        }
        let database = try DatabaseQueue(path: "\(path)/natfleet.db")
        try await database.write { database in
            try database.execute(sql: "ALTER TABLE instance DROP COLUMN attempt")
            try database.execute(sql: "DELETE FROM grdb_migrations WHERE identifier = '0003-attempt'")
        }
        try database.close()
        let test = try TestFleet(path: path)
        let row = try await test.store.read { try $0.instance("i-1") }
        #expect(row?.attempt == 0)
    }
}
