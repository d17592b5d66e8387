// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: natfleet contributors

import ControllerCore
import ControllerHTTP
import ControllerPKI
import Foundation
import Hummingbird
import Logging
import ServiceLifecycle
import Synchronization
import Testing

@testable import ControllerMain

/// A controller in this process, whole: store and authority in a folder of its own, TLS on a free port. Only its clock
/// and its random numbers are the test's, so that what it prints is the same each time.
final class RealController: Sendable {
    let folder: TemporaryFolder
    let port: Int
    /// SHA-256 of the authority's certificate.
    let caHash: String
    let clock: ManualClock
    let cutter: CuttingServer

    private init(folder: TemporaryFolder, port: Int, caHash: String, clock: ManualClock) throws {
        self.folder = folder
        self.port = port
        self.caHash = caHash
        self.clock = clock
        self.cutter = try CuttingServer()
    }

    var url: String { "https://127.0.0.1:\(port)" }

    /// Runs `body` with a controller that ends afterwards.
    static func with<Value: Sendable>(
        _ body: @escaping @Sendable (RealController) async throws -> Value
    ) async throws -> Value {
        let (folder, clock, count) = (try TemporaryFolder(), ManualClock(), Counter())
        // At an address, too, that its certificate does not name.
        let listen = ListenAddress(host: "0.0.0.0", port: 0)
        let logger = Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }
        let controller = try await Controller.open(
            data: "\(folder.path)/data", names: Names(listen: listen, advertise: []),
            surroundings: Surroundings(
                now: { clock.now },
                randomBytes: { size in
                    let number = count.next()
                    return (0..<size).map { _ in number }
                }),
            logger: logger)
        let ports = AsyncStream<Int>.makeStream()
        let server = try fleetServer(
            controller.fleet, certificate: controller.certificate, listen: listen, logger: logger
        ) { ports.continuation.yield($0) }
        let group = ServiceGroup(configuration: .init(services: [server], logger: logger))
        async let serving: Void = group.run()
        let port = try #require(await ports.stream.first { _ in true })
        let result: Result<Value, any Error>
        do {
            let real = try RealController(
                folder: folder, port: port, caHash: try controller.authority.fingerprint, clock: clock)
            try await real.admit(controller)
            result = .success(try await body(real))
        } catch {
            result = .failure(error)
        }
        await group.triggerGracefulShutdown()
        try await serving
        return try result.get()
    }

    /// Client configurations, by what they are good for.
    private func admit(_ controller: Controller) async throws {
        let ca = controller.authority.bundle.joined().split(separator: "\n").map { "  \($0)\n" }.joined()
        func write(_ name: String, server: String? = nil) throws {
            try folder.write(
                "server: \(server ?? url)\nca: |\n\(ca)token: nfo_\(name)\n", to: "\(name).yaml")
        }
        for (name, role) in [("admin", OperatorRole.admin), ("viewer", .viewer)] {
            try await controller.fleet.addOperator(name, role: role, secret: "nfo_\(name)")
            try write(name)
        }
        try write("stranger")
        try write("nowhere", server: "https://127.0.0.1:1")
        try write("othername", server: "https://127.0.0.2:\(port)")
        try write("cutshort", server: "https://127.0.0.1:\(cutter.port)")
        let other = try FleetAuthority.make(now: Date()).bundle.joined().split(separator: "\n").map { "  \($0)\n" }
        try folder.write("server: \(url)\nca: |\n\(other.joined())token: nfo_admin\n", to: "otherca.yaml")
    }
}

/// A clock that only tests move.
final class ManualClock: Sendable {
    private let date = Mutex(CLITests.now)

    var now: Date { date.withLock { $0 } }

    func advance(_ seconds: TimeInterval) { date.withLock { $0.addTimeInterval(seconds) } }
}

private final class Counter: Sendable {
    private let number = Mutex<UInt8>(0)

    func next() -> UInt8 {
        number.withLock { number in
            number &+= 1
            return number
        }
    }
}
