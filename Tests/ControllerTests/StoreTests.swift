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

/// What the file promises: durability, constraints, restarts, versions.
struct StoreTests {
    @Test func theWriterSyncsEveryCommit() throws {
        let path = temporaryPath()
        try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(atPath: path) }
        for _ in 0..<2 {
            let store = try SQLiteStore(path: "\(path)/a.db")
            let durability = try store.durability()
            #expect(durability.journal == "wal")
            #expect(durability.synchronous == 2)
            try store.close()
        }
    }

    @Test func aRestartKeepsEverything() async throws {
        let path = temporaryPath()
        let clock = TestClock()
        defer { try? FileManager.default.removeItem(atPath: path) }
        var agent = AgentIdentity(instance: "", serial: "")
        var before: [Instance] = []
        var authority: [String] = []
        do {
            let test = try TestFleet(path: path, clock: clock)
            agent = try await test.enroll("i-1", labels: ["vpc": "prod"])
            try await test.apply(policy("web"))
            try await test.apply(policy("web", source: "10.1.0.0/16"))
            let desired = try #require(try await test.checkin(agent).desired)
            _ = try await test.checkin(
                agent, .running(desired),
                outcome: Outcome(hash: desired.hash, result: .applied, detail: "x", at: clock.now))
            try await test.fleet.flushSeen()
            before = try await test.fleet.instances()
            authority = test.authority.bundle
        }
        let test = try TestFleet(path: path, clock: clock)
        #expect(try await test.fleet.instances() == before)
        #expect(before.first?.health == .healthy)
        #expect(test.authority.bundle == authority)
        #expect(try await test.fleet.revisions(of: "web").count == 2)
        #expect(try await test.fleet.tokens().count == 1)
        let hash = try #require(before.first?.desiredHash)
        #expect(try await test.checkin(agent, answered: hash) == CheckinResponse())
    }

    @Test func aTransactionThatThrowsLeavesNothing() async throws {
        try await TestFleet.with { test in
            await #expect(throws: CancellationError.self) {
                try await test.store.write { store in
                    try store.save(PolicyRow(name: "web", currentRevision: nil, lastRevision: 1))
                    throw CancellationError()
                }
            }
            let stored = try await test.store.read { try $0.policies() }
            #expect(stored.isEmpty)
        }
    }

    @Test(arguments: [
        "INSERT INTO policy (name, current_revision, last_revision) VALUES ('web', 7, 7)",
        "INSERT INTO policy (name, current_revision, last_revision) VALUES ('', NULL, 1)",
        "INSERT INTO instance_policy (instance, policy, revision) VALUES ('i-1', 'web', 9)",
        "INSERT INTO instance_policy (instance, policy, revision) VALUES ('i-9', 'web', 1)",
        "INSERT INTO instance (id, labels, state, enrolled_at) VALUES ('i-1', '{}', 'active', 1)",
        "INSERT INTO instance (id, labels, state, enrolled_at) VALUES ('i-2', '{}', 'lost', 1)",
        "UPDATE instance SET attempt = -1",
        "UPDATE join_token SET uses_left = -1",
        "UPDATE certificate SET state = 'good'",
        "UPDATE operator_token SET role = 'root'",
        "DELETE FROM policy_revision",
    ])
    func theSchemaRefuses(sql: String) async throws {
        try await TestFleet.with { test in
            try await test.enroll("i-1", labels: ["vpc": "prod"])
            try await test.apply(policy("web"))
            try await test.fleet.addOperator("a", role: .viewer, secret: "s")
            let database = try DatabaseQueue(path: test.folder.path(of: "natfleet.db"))
            await #expect(throws: DatabaseError.self) { try await database.write { try $0.execute(sql: sql) } }
        }
    }

    @Test func aTokenIsConsumedAsOftenAsItSays() async throws {
        try await TestFleet.with { test in
            let token = try await test.fleet.createToken(TokenRequest(uses: 2), by: TestFleet.admin)
            let now = Timestamp(test.clock.now)
            let end = Timestamp(milliseconds: now.milliseconds + 3_600_000)
            func consume(at time: Timestamp) async throws -> Bool {
                try await test.store.write { try $0.consumeJoinToken(id: token.id, now: time) }
            }
            #expect(try await !consume(at: end))
            #expect(try await consume(at: now))
            #expect(try await consume(at: Timestamp(milliseconds: end.milliseconds - 1)))
            #expect(try await !consume(at: now))
        }
    }

    @Test func lastSeenOnlyMovesForward() async throws {
        try await TestFleet.with { test in
            try await test.enroll("i-1")
            for time in [5, 9, 7] as [Int64] {
                try await test.store.write {
                    try $0.recordSeen(["i-1": Timestamp(milliseconds: time), "gone": Timestamp(milliseconds: 1)])
                }
            }
            #expect(try await test.store.read { try $0.instance("i-1") }?.lastSeen?.milliseconds == 9)
        }
    }

    @Test func eventsAreNumberedInTheirOrder() async throws {
        try await TestFleet.with { test in
            for number in 0..<5 { _ = try await test.apply(policy("p\(number)", source: "10.\(number).0.0/16")) }
            let events = try await test.fleet.events(EventFilter(limit: 3))
            #expect(events.map(\.id) == [5, 4, 3])
            #expect(events.map(\.subject) == ["policy/p4", "policy/p3", "policy/p2"])
        }
    }

    @Test func aDamagedFileAndOneOfANewerNatfleetAreRefusedWithARemedy() async throws {
        let path = temporaryPath()
        try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(atPath: path) }
        try Data(repeating: 0x5a, count: 8192).write(to: URL(fileURLWithPath: "\(path)/damaged.db"))
        let damaged = try await failure { try SQLiteStore(path: "\(path)/damaged.db") }
        #expect(damaged.message.contains("damaged") && damaged.remedy != nil)

        try SQLiteStore(path: "\(path)/newer.db").close()
        let database = try DatabaseQueue(path: "\(path)/newer.db")
        try await database.write { try $0.execute(sql: "INSERT INTO grdb_migrations VALUES ('9999-future')") }
        try database.close()
        let newer = try await failure { try SQLiteStore(path: "\(path)/newer.db") }
        #expect(newer.code == .unsupported && newer.remedy != nil)
    }

    @Test func placeholdersFirstAppearInAscendingOrder() throws {
        // SQLite binds $n by first appearance, PostgreSQL by number: only in ascending order do they agree.
        let store = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
            .deletingLastPathComponent().appendingPathComponent("controller/Store")
        var statements = 0
        for file in try FileManager.default.contentsOfDirectory(atPath: store.path) where file.hasSuffix(".swift") {
            let text = try String(contentsOf: store.appendingPathComponent(file), encoding: .utf8)
            for literal in text.split(separator: "\"") where literal.contains("$1") || literal.contains("$2") {
                statements += 1
                var highest = 0
                for match in literal.matches(of: /\$([0-9]+)/) {
                    let number = try #require(Int(match.1))
                    #expect(number <= highest + 1, "\(file): \(literal)")
                    highest = max(highest, number)
                }
            }
        }
        #expect(statements > 20)
    }
}

/// The folder: one user, one process, whole files.
struct DataFolderTests {
    @Test func aSecondControllerIsRefusedUntilTheFirstIsGone() async throws {
        let path = temporaryPath()
        defer { try? FileManager.default.removeItem(atPath: path) }
        var first: DataFolder? = try DataFolder(path)
        let error = try await failure { try DataFolder(path) }
        #expect(error.code == .conflict && error.message.contains(path))
        #expect(first?.path == path)
        first = nil
        _ = try DataFolder(path)
    }

    @Test func nobodyElseCanReadIt() throws {
        let path = temporaryPath()
        defer { try? FileManager.default.removeItem(atPath: path) }
        let folder = try DataFolder(path)
        try folder.makeFolder("pki")
        try folder.write("one", to: "pki/secret")
        try folder.write("two", to: "pki/secret")
        #expect(try folder.read("pki/secret") == "two")
        #expect(try folder.read("nothing") == nil)
        for (name, mode) in [("", 0o700), ("pki", 0o700), ("pki/secret", 0o600), ("lock", 0o600)] {
            let attributes = try FileManager.default.attributesOfItem(atPath: folder.path(of: name))
            #expect((attributes[.posixPermissions] as? NSNumber)?.intValue == mode, "\(name)")
        }
        #expect(try FileManager.default.contentsOfDirectory(atPath: "\(path)/pki") == ["secret"])
    }

    @Test func aFolderThatCannotBeMadeIsRefusedWithARemedy() async throws {
        let error = try await failure { try DataFolder("/proc/natfleet") }
        #expect(error.code == .forbidden && error.remedy != nil)
    }
}
