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
import Synchronization
import Testing

/// Backups of a running controller, and what a fleet notices of a restored one.
struct BackupTests {
    private func backUp(_ data: String, to target: String) throws {
        try ControllerCore.backUp(
            data, to: target, database: "natfleet.db", needed: [FleetAuthority.file], copyDatabase: SQLiteStore.copy)
    }

    @Test func aBackupUnderWritesIsTheStoreOfOneMoment() async throws {
        try await TestFleet.with { test in
            defer { for index in 0..<5 { try? FileManager.default.removeItem(atPath: "\(test.path)-\(index)") } }
            let isDone = Mutex(false)
            async let writes = Self.write(test) { isDone.withLock { $0 } }
            var counts: [Int] = []
            for index in 0..<5 {
                let count = try await test.store.read { try $0.revisions(of: "web").count }
                #expect(
                    try await eventually { try await test.store.read { try $0.revisions(of: "web").count } > count + 2 }
                )
                try backUp(test.path, to: "\(test.path)-\(index)")
                let copy = try DatabaseQueue(path: "\(test.path)-\(index)/natfleet.db")
                // One transaction writes a revision, its number twice and an event: none without the others.
                let numbers = try await copy.read { database in
                    try [
                        "SELECT COUNT(*) FROM policy_revision", "SELECT MAX(last_revision) FROM policy",
                        "SELECT MAX(current_revision) FROM policy", "SELECT COUNT(*) FROM event",
                    ].map { try Int.fetchOne(database, sql: $0) }
                }
                #expect(Set(numbers).count == 1 && numbers[0] ?? 0 > count, "\(numbers)")
                counts.append(numbers[0] ?? 0)
            }
            isDone.withLock { $0 = true }
            let written = try await writes
            #expect(counts == counts.sorted() && (counts.last ?? 0) <= written)
        }
    }

    private static func write(_ test: TestFleet, until isDone: () -> Bool) async throws -> Int {
        var count = 0
        while !isDone() {
            try await test.apply(policy("web", source: "10.\(count % 250).0.0/16"))
            count += 1
        }
        return count
    }

    @Test func agentsAndOperatorsDoNotNoticeARestore() async throws {
        let path = temporaryPath()
        defer { try? FileManager.default.removeItem(atPath: path) }
        let client = Recorder<[String]>()
        let answers = Recorder<CurlAnswer>()
        let before = Recorder<String>()
        let body =
            "{\"status\":{\"phase\":\"idle\",\"layers\":[],\"conditions\":[],\"agentVersion\":\"test\"},\"wait\":0}"
        @Sendable func ask(_ server: LiveServer, _ arguments: [String]) async throws {
            let url = "https://127.0.0.1:\(server.port)"
            // The CA's file is the first controller's.
            let trust = ["--cacert", "\(path).ca"]
            answers.add(try await curl(trust + ["\(url)\(Endpoints.checkin)", "--data", body] + arguments))
            answers.add(
                try await curl(trust + ["\(url)\(Endpoints.policies)", "--header", "Authorization: Bearer secret"]))
        }
        defer { try? FileManager.default.removeItem(atPath: "\(path).ca") }
        try await LiveServer.with { server in
            try server.test.authority.bundle[0].write(toFile: "\(path).ca", atomically: true, encoding: .utf8)
            try await server.test.fleet.addOperator("test", role: .operator, secret: "secret")
            var arguments = try await server.client("i-1")
            for index in [1, 3] {
                try FileManager.default.copyItem(atPath: arguments[index], toPath: "\(path).\(index).pem")
                arguments[index] = "\(path).\(index).pem"
            }
            client.add(arguments)
            try await server.test.apply(policy("web", labels: [:], instances: ["i-1"]))
            try backUp(server.test.path, to: path)
            try await ask(server, arguments)
            before.add(server.identity.current.certificatePEM)
        }
        defer { for index in [1, 3] { try? FileManager.default.removeItem(atPath: "\(path).\(index).pem") } }
        try await LiveServer.with(path: path) { server in
            try await ask(server, try #require(client.values.first))
            before.add(server.identity.current.certificatePEM)
        }
        let seen = answers.values
        try #require(seen.count == 4)
        #expect(seen.map(\.status) == [200, 200, 200, 200])
        #expect(seen[0].body == seen[2].body)
        #expect(try WireJSON.decode(CheckinResponse.self, from: seen[0].body).desired?.policy.layers.count == 1)
        #expect(Set(before.values).count == 1)
    }

    @Test func whatWasRenewedAfterTheBackupIsReadmittedOnce() async throws {
        let path = temporaryPath()
        defer { try? FileManager.default.removeItem(atPath: path) }
        try await TestFleet.with { test in
            let token = try await test.token(for: "i-1")
            let first = try await test.fleet.enroll(EnrollRequest(csr: try AgentKey().csr(), joinToken: token))
            let agent = try await test.fleet.authenticate(certificate: try der(first.certificate))
            try backUp(test.path, to: path)
            test.clock.advance(12 * 3600)
            let renewed = try await test.fleet.renew(RenewRequest(csr: try AgentKey().csr()), by: agent)
            let late = try await test.fleet.enroll(
                EnrollRequest(csr: try AgentKey().csr(), joinToken: try await test.token(for: "i-late")))

            let restored = try TestFleet(path: path, clock: test.clock).fleet
            let back = try await restored.authenticate(certificate: try der(renewed.certificate))
            #expect(back.instance == "i-1" && back.serial != agent.serial)
            #expect(try await restored.events(EventFilter(limit: 1)).first?.kind == "instance.readmitted")
            #expect(try await restored.authenticate(certificate: try der(renewed.certificate)) == back)
            #expect(try await restored.events(EventFilter()).count { $0.kind == "instance.readmitted" } == 1)
            // The one before it has ended, and can be renewed from now on like any other.
            #expect(
                try await failure { try await restored.authenticate(certificate: try der(first.certificate)) }.code
                    == .unauthorized)
            let next = try await restored.renew(RenewRequest(csr: try AgentKey().csr()), by: back)
            #expect(try await restored.authenticate(certificate: try der(next.certificate)).instance == "i-1")
            // Who enrolled after the backup is a stranger.
            #expect(
                try await failure { try await restored.authenticate(certificate: try der(late.certificate)) }.message
                    .contains("not known here"))
        }
    }

    @Test func aForgottenInstancesCertificateDoesNotComeBackWithItsName() async throws {
        try await TestFleet.with { test in
            let token = try await test.token(for: "i-1", uses: 2)
            let old = try await test.fleet.enroll(EnrollRequest(csr: try AgentKey().csr(), joinToken: token))
            _ = try await test.fleet.forget("i-1", by: TestFleet.admin)
            test.clock.advance(5)
            _ = try await test.fleet.enroll(EnrollRequest(csr: try AgentKey().csr(), joinToken: token))
            #expect(
                try await failure { try await test.fleet.authenticate(certificate: try der(old.certificate)) }.message
                    .contains("not known here"))
        }
    }

    @Test func aBackupIsSecretAndWhole() async throws {
        try await TestFleet.with { test in
            let path = temporaryPath()
            defer { try? FileManager.default.removeItem(atPath: path) }
            try test.folder.write("token: x\n", to: "admin.yaml")
            try test.folder.makeFolder("later")
            try test.folder.write("kept", to: "later/file")
            try backUp(test.path, to: path)
            let names = try FileManager.default.subpathsOfDirectory(atPath: path).sorted()
            #expect(names == ["admin.yaml", "later", "later/file", "natfleet.db", "pki", "pki/ca.pem"])
            for name in [""] + names {
                let file = try FileManager.default.attributesOfItem(atPath: "\(path)/\(name)")
                let isFolder = file[.type] as? FileAttributeType == .typeDirectory
                #expect((file[.posixPermissions] as? NSNumber)?.intValue == (isFolder ? 0o700 : 0o600), "\(name)")
            }
            #expect(try String(contentsOfFile: "\(path)/pki/ca.pem", encoding: .utf8) == test.folder.read("pki/ca.pem"))
            #expect(try await failure { try backUp(test.path, to: path) }.code == .conflict)
        }
    }

    /// As systemd has it for a unit with DynamicUser and StateDirectory.
    @Test func aLinkIsBackedUpAsTheFolderThatItLeadsTo() async throws {
        try await TestFleet.with { test in
            let (link, path) = (temporaryPath(), temporaryPath())
            defer { for name in [link, path] { try? FileManager.default.removeItem(atPath: name) } }
            try FileManager.default.createSymbolicLink(
                atPath: link, withDestinationPath: URL(fileURLWithPath: test.path).lastPathComponent)
            try test.folder.write("token: x\n", to: "admin.yaml")
            try backUp(link, to: path)
            let names = try FileManager.default.subpathsOfDirectory(atPath: path).sorted()
            #expect(names == ["admin.yaml", "natfleet.db", "pki", "pki/ca.pem"])
            #expect(try String(contentsOfFile: "\(path)/pki/ca.pem", encoding: .utf8) == test.folder.read("pki/ca.pem"))
        }
    }

    @Test func aCopyWithoutTheAuthorityIsNone() async throws {
        try await TestFleet.with { test in
            let (elsewhere, path) = (temporaryPath(), temporaryPath())
            defer { try? FileManager.default.removeItem(atPath: elsewhere) }
            try FileManager.default.moveItem(atPath: "\(test.path)/pki", toPath: elsewhere)
            try FileManager.default.createSymbolicLink(atPath: "\(test.path)/pki", withDestinationPath: elsewhere)
            let error = try await failure { try backUp(test.path, to: path) }
            #expect(error.code == .internal && error.message.contains("pki/ca.pem") && error.remedy != nil)
            #expect(!FileManager.default.fileExists(atPath: path))
        }
    }

    @Test(arguments: ["nothing", "empty", "no-authority", "damaged"])
    func whatCannotBeBackedUpLeavesNothing(case name: String) async throws {
        try await TestFleet.with { test in
            let target = temporaryPath()
            let data = "\(test.path)/\(name)"
            let files = FileManager.default
            if name != "nothing" { try files.createDirectory(atPath: "\(data)/pki", withIntermediateDirectories: true) }
            if name == "no-authority" || name == "damaged" {
                try Data(repeating: 7, count: 5000).write(to: URL(fileURLWithPath: "\(data)/natfleet.db"))
            }
            if name == "damaged" { try Data("x".utf8).write(to: URL(fileURLWithPath: "\(data)/pki/ca.pem")) }
            let error = try await failure { try backUp(data, to: target) }
            #expect(error.code == (name == "damaged" ? .internal : .notFound) && error.remedy != nil)
            let folder = URL(fileURLWithPath: target).deletingLastPathComponent().path
            let left = try files.contentsOfDirectory(atPath: folder).filter {
                $0.hasPrefix(URL(fileURLWithPath: target).lastPathComponent)
            }
            #expect(left.isEmpty)
        }
    }
}
