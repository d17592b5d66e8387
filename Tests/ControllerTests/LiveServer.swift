// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: natfleet contributors

import ControllerCore
import ControllerHTTP
import ControllerPKI
import FleetAPI
import Foundation
import Hummingbird
import ServiceLifecycle
import SwiftASN1
import Testing
import X509

/// A controller that listens on a free port, with TLS, and clients' files beside it.
struct LiveServer: Sendable {
    let test: TestFleet
    let port: Int
    let identity: ServerIdentity
    let group: ServiceGroup

    static func with(
        limits: BodyLimits = BodyLimits(), certificateMade: Date = Date(), path: String = temporaryPath(),
        _ body: @escaping @Sendable (LiveServer) async throws -> Void
    ) async throws {
        try await TestFleet.with(path: path) { test in
            let identity = try ServerIdentity(
                test.authority, names: ["localhost", "127.0.0.1"], in: test.folder, now: certificateMade)
            let ports = AsyncStream<Int>.makeStream()
            let app = try fleetServer(
                test.fleet, certificate: identity,
                listen: ListenAddress(host: "127.0.0.1", port: 0), limits: limits,
                renewalInterval: .milliseconds(20), logger: silent
            ) { ports.continuation.yield($0) }
            let group = ServiceGroup(configuration: .init(services: [app], logger: silent))
            try test.authority.bundle[0].write(toFile: "\(test.path)/ca.crt", atomically: true, encoding: .utf8)
            try await withThrowingTaskGroup(of: Void.self) { tasks in
                tasks.addTask { try await group.run() }
                tasks.addTask {
                    let port = try #require(await ports.stream.first { _ in true })
                    do {
                        try await body(LiveServer(test: test, port: port, identity: identity, group: group))
                    } catch {
                        Issue.record(error)
                    }
                    await group.triggerGracefulShutdown()
                }
                try await tasks.waitForAll()
            }
        }
    }

    func curl(_ path: String, _ arguments: String..., drip: String? = nil) async throws -> CurlAnswer {
        let common = ["--cacert", "\(test.path)/ca.crt", "https://127.0.0.1:\(port)\(path)"]
        return try await ControllerTests.curl(common + arguments, drip: drip)
    }

    /// Writes a client's key and certificate, and answers curl's arguments for them.
    func client(_ name: String, of authority: FleetAuthority? = nil, issued: Date? = nil, known: Bool = true)
        async throws -> [String]
    {
        let key = AgentKey()
        let pem: String
        if let authority = authority ?? (known && issued == nil ? nil : test.authority) {
            let request = try authority.check(csr: try key.csr())
            pem = try authority.issue(request, instance: name, now: issued ?? test.clock.now).pem
        } else {
            let token = try await test.token(for: name)
            pem = try await test.fleet.enroll(EnrollRequest(csr: try key.csr(), joinToken: token)).certificate
        }
        let path = "\(test.path)/\(name).pem"
        let keyPEM = try Certificate.PrivateKey(key.key).serializeAsPEM().pemString
        try (keyPEM + "\n" + pem + "\n").write(toFile: path, atomically: true, encoding: .utf8)
        return ["--cert", path, "--key", path]
    }
}
