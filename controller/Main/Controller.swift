// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: natfleet contributors

import ControllerCore
import ControllerHTTP
import ControllerPKI
import ControllerStore
import FleetAPI
import FleetModel
import Foundation
import Hummingbird
import Logging
import NATPolicy
import PolicyYAML
import ServiceLifecycle
import Synchronization
import UnixSignals

/// Everything that one controller process is made of.
struct Controller {
    static let defaultData = "/var/lib/natfleet"
    /// Files in the data folder.
    static let database = "natfleet.db"
    static let authorityFile = FleetAuthority.file
    private static let clientConfiguration = "admin.yaml"

    let folder: DataFolder
    let store: SQLiteStore
    let authority: FleetAuthority
    let certificate: ServerIdentity
    let fleet: Fleet
    let names: Names
    let logger: Logger

    /// - Throws: `FleetError` with what to do when the data folder, the database or the authority cannot be used.
    static func open(
        data: String, names: Names, surroundings: Surroundings = Surroundings(), logger: Logger
    ) async throws -> Controller {
        let folder = try DataFolder(data)
        let store = try SQLiteStore(path: folder.path(of: database))
        let authority = try FleetAuthority(in: folder, hasMembers: try await store.hasMembers(), now: Date())
        let certificate = try ServerIdentity(authority, names: names.certificate, in: folder, now: Date())
        let fleet = Fleet(
            store: store, authority: authority, reader: read, surroundings: surroundings, logger: logger)
        return Controller(
            folder: folder, store: store, authority: authority, certificate: certificate, fleet: fleet, names: names,
            logger: logger)
    }

    private static func read(_ files: [PolicyFile]) -> (documents: [PolicyDocument], diagnostics: [Diagnostic]) {
        let readings = readPolicies(files.map { PolicyText(name: $0.name, text: $0.text) })
        return (readings.documents, readings.diagnostics)
    }

    /// Serves until SIGTERM or SIGINT.
    ///
    /// - Parameter metrics: where monitoring is answered; nil for nowhere.
    func run(listen: ListenAddress, metrics: ListenAddress?) async throws {
        let startup = Startup()
        let meter = RequestMeter()
        // What the first start says and makes comes when everything listens.
        let monitoring = AsyncStream<Void>.makeStream()
        if metrics == nil { monitoring.continuation.yield() }
        let server = try fleetServer(
            fleet, certificate: certificate, listen: listen, meter: meter, logger: logger
        ) { port in
            guard await monitoring.stream.first(where: { true }) != nil else { return }
            await startup.finish { try await started(port: port, listen: listen) }
        }
        var services: [any Service] = [Listener(server: server, address: listen, option: "--listen")]
        if let metrics {
            let router = metricsRouter(fleet, certificate: certificate, meter: meter) {
                startup.isFinished ? await fleet.obstacle() : "starting"
            }
            let server = metricsServer(router, listen: metrics, logger: logger) { port in
                monitoring.continuation.yield()
                logger.info("metrics on http://\(ListenAddress(host: metrics.host, port: port))/metrics")
            }
            services.append(Listener(server: server, address: metrics, option: "--metrics-listen"))
        }
        var quiet = logger
        quiet.logLevel = .warning
        let group = ServiceGroup(
            configuration: .init(
                services: services, gracefulShutdownSignals: [.sigterm, .sigint], logger: quiet))
        startup.group = group
        try await group.run()
        try store.close()
        if let error = startup.error { throw error }
        logger.info("stopped")
    }

    private func started(port: Int, listen: ListenAddress) async throws {
        if names.isForThisMachineOnly {
            logger.warning(
                "others than this machine will refuse the certificate: name the controller as they reach it, --advertise NAME"
            )
        }
        if try await !fleet.hasOperators() { try await welcome(port: port) }
        let fingerprint = try authority.fingerprint
        logger.info("fleet authority", metadata: ["sha256": "\(fingerprint)"])
        let place = "https://\(ListenAddress(host: listen.host, port: port))"
        logger.info("listening on \(place)")
        if let trouble = tellReady(status: "listening on \(place)") {
            logger.warning("the service manager was not told that the controller is ready: \(trouble)")
        }
    }

    /// Makes the admin token. The file comes before the row: a crash between them makes both again.
    private func welcome(port: Int) async throws {
        let secret = Surroundings().secret(prefix: "nfo")
        let url = names.url(port: port)
        let ca = authority.bundle.flatMap { $0.split(separator: "\n") }.map { "  \($0)\n" }.joined()
        try folder.write("server: \(url)\nca: |\n\(ca)token: \(secret)\n", to: Self.clientConfiguration)
        try await fleet.addOperator("admin", role: .admin, secret: secret)
        let text = """

            natfleet is ready. What to do next:

              1. As operator: export NATFLEET_CONFIG=\(folder.path(of: Self.clientConfiguration))
              2. For each machine: natfleet token create
              3. On the machine, in /etc/natfleet/agent.conf:
                   NATFLEET_CONTROLLER=\(url)
                   NATFLEET_CA_HASH=\(try authority.fingerprint)
                   NATFLEET_JOIN_TOKEN=the token of step 2
                   NATFLEET_VPC_CIDRS=the networks of the VPC, for policies with sources: vpc
              4. For the fleet: natfleet apply -f policy.yaml


            """
        FileHandle.standardError.write(Data(text.utf8))
    }
}

/// How the first steps behind the open port went; a failure stops the server.
private final class Startup: Sendable {
    private struct State {
        var group: ServiceGroup?
        var isFinished = false
        var error: (any Error)?
    }

    private let state = Mutex(State())

    var group: ServiceGroup? {
        get { state.withLock { $0.group } }
        set { state.withLock { $0.group = newValue } }
    }

    var isFinished: Bool { state.withLock { $0.isFinished } }

    var error: (any Error)? { state.withLock { $0.error } }

    func finish(_ steps: @Sendable () async throws -> Void) async {
        do {
            try await steps()
            state.withLock { $0.isFinished = true }
        } catch {
            state.withLock { $0.error = error }
            await group?.triggerGracefulShutdown()
        }
    }
}
