// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: natfleet contributors

import ControllerCore
import ControllerPKI
import ControllerStore
import Crypto
import FleetAPI
import FleetModel
import Foundation
import Logging
import NATPolicy
import PolicyYAML
import SwiftASN1
import Synchronization
import Testing
import X509

/// A controller without its server: real store in a folder of its own, real authority, a clock that tests move.
final class TestFleet: Sendable {
    let path: String
    let folder: DataFolder
    let store: SQLiteStore
    let authority: FleetAuthority
    let fleet: Fleet
    let clock: TestClock

    static let admin = OperatorIdentity(name: "admin", role: .admin)

    /// - Parameters:
    ///   - path: a folder used before, for restarts; the caller removes it.
    ///   - sleep: how a held check-in's limit passes; really by default.
    init(
        path: String = temporaryPath(), clock: TestClock = TestClock(),
        sleep: @escaping @Sendable (Duration) async throws -> Void = { try await Task.sleep(for: $0) }
    ) throws {
        self.path = path
        self.clock = clock
        folder = try DataFolder(path)
        store = try SQLiteStore(path: folder.path(of: "natfleet.db"))
        authority = try FleetAuthority(in: folder, hasMembers: false, now: clock.now)
        fleet = Fleet(
            store: store, authority: authority, reader: readFiles,
            surroundings: Surroundings(now: { clock.now }, sleep: sleep), logger: silent)
    }

    /// Runs a test with a fleet whose folder goes afterwards.
    static func with(
        path: String = temporaryPath(),
        sleep: @escaping @Sendable (Duration) async throws -> Void = { try await Task.sleep(for: $0) },
        _ body: (TestFleet) async throws -> Void
    ) async throws {
        let test = try TestFleet(path: path, sleep: sleep)
        defer { try? FileManager.default.removeItem(atPath: test.path) }
        try await body(test)
    }

    @discardableResult
    func apply(_ documents: String..., by caller: OperatorIdentity = admin) async throws -> [PolicyChange] {
        let files = documents.enumerated().map { PolicyFile(name: "\($0.offset).yaml", text: $0.element) }
        return try await fleet.apply(ApplyRequest(files: files), by: caller).policies
    }

    func token(for instance: String? = nil, labels: [String: String] = [:], uses: Int = 1) async throws -> String {
        let request = TokenRequest(instanceID: instance, labels: labels, uses: uses)
        return try #require(try await fleet.createToken(request, by: Self.admin).secret)
    }

    /// Enrols an instance and answers what its certificate says of it.
    @discardableResult
    func enroll(_ id: String, labels: [String: String] = [:]) async throws -> AgentIdentity {
        let token = try await token(for: id, labels: labels)
        let issued = try await fleet.enroll(EnrollRequest(csr: try AgentKey().csr(), joinToken: token))
        return try await fleet.authenticate(certificate: try der(issued.certificate))
    }

    func checkin(
        _ agent: AgentIdentity, _ status: InstanceStatus = .idle, outcome: Outcome? = nil, answered: String? = nil,
        wait: Int = 0
    ) async throws -> CheckinResponse {
        try await fleet.checkin(
            CheckinRequest(status: status, outcome: outcome, answeredHash: answered, wait: wait), from: agent)
    }

    func eventKinds() async throws -> [String] { try await fleet.events(EventFilter(limit: 1000)).map(\.kind) }
}

final class TestClock: Sendable {
    private let date = Mutex(Date(timeIntervalSince1970: 1_790_000_000))

    var now: Date { date.withLock { $0 } }

    func advance(_ seconds: TimeInterval) { date.withLock { $0.addTimeInterval(seconds) } }
}

/// The key of an agent, and the request that it sends.
struct AgentKey {
    let key = P256.Signing.PrivateKey()

    func csr() throws -> String {
        try CertificateSigningRequest(
            version: .v1, subject: DistinguishedName { CommonName("somebody else") },
            privateKey: Certificate.PrivateKey(key), attributes: CertificateSigningRequest.Attributes(),
            signatureAlgorithm: .ecdsaWithSHA256
        ).serializeAsPEM().pemString
    }
}

extension InstanceStatus {
    static let idle = InstanceStatus(phase: .idle, agentVersion: "test")

    static func running(_ desired: DesiredState, conditions: [Condition] = []) -> InstanceStatus {
        InstanceStatus(
            phase: .applied, runningHash: desired.hash, layers: desired.policy.layers, conditions: conditions,
            agentVersion: "test")
    }
}

let silent = Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }

@Sendable func readFiles(_ files: [PolicyFile]) -> (documents: [PolicyDocument], diagnostics: [Diagnostic]) {
    let readings = readPolicies(files.map { PolicyText(name: $0.name, text: $0.text) })
    return (readings.documents, readings.diagnostics)
}

func temporaryPath() -> String {
    FileManager.default.temporaryDirectory.appendingPathComponent("natfleet-\(UUID().uuidString)").path
}

func der(_ pem: String) throws -> [UInt8] { try PEMDocument(pemString: pem).derBytes }

/// A small policy: one masquerade, and a port forward for each of `ports`.
func policy(
    _ name: String, labels: [String: String] = ["vpc": "prod"], instances: [String] = [],
    source: String = "10.0.0.0/16",
    ports: [Int] = []
) -> String {
    let matching = labels.map { "\($0.key): \($0.value)" }.joined(separator: ", ")
    let forwards = ports.map { "    - {name: p\($0), protocol: tcp, port: \($0), to: \"10.0.1.1:80\"}" }
    return """
        apiVersion: natfleet/v1
        kind: NATPolicy
        metadata: {name: \(name)}
        spec:
          selector: {matchLabels: {\(matching)}, instances: [\(instances.joined(separator: ", "))]}
          forwarding: {ipv4: true}
          masquerade:
            - {name: egress, families: [ipv4], sources: [\(source)]}
        \(forwards.isEmpty ? "" : "  dnat:\n")\(forwards.joined(separator: "\n"))
        """
}

/// Waits for something that another task does, at most five seconds.
func eventually(_ condition: @Sendable () async throws -> Bool) async throws -> Bool {
    for _ in 0..<500 {
        if try await condition() { return true }
        try await Task.sleep(for: .milliseconds(10))
    }
    return false
}

/// The error that something throws, as the use-cases name it.
func failure(_ body: () async throws -> some Any) async throws -> FleetError {
    do {
        _ = try await body()
    } catch let error as FleetError {
        return error
    } catch let faults as PolicyFaults {
        return faults.error
    }
    Issue.record("nothing was thrown")
    throw CancellationError()
}
