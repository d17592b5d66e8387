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
import NIOCore
import PolicyYAML
import ServiceLifecycle

/// Everything that one controller process is made of.
struct Controller {
    private static let clientConfiguration = "admin.yaml"

    let folder: DataFolder
    let store: SQLiteStore
    let authority: FleetAuthority
    let certificate: ServerIdentity
    let fleet: Fleet
    let names: Names
    let logger: Logger

    static func open(data: String, names: Names, logger: Logger) async throws -> Controller {
        let folder = try DataFolder(data)
        let store = try SQLiteStore(path: folder.path(of: "natfleet.db"))
        let authority = try FleetAuthority(in: folder, now: Date())
        let certificate = try ServerIdentity(authority, names: names.certificate, in: folder, now: Date())
        let fleet = Fleet(store: store, authority: authority, reader: read, logger: logger)
        return Controller(
            folder: folder, store: store, authority: authority, certificate: certificate, fleet: fleet, names: names,
            logger: logger)
    }

    private static func read(_ files: [PolicyFile]) -> (documents: [PolicyDocument], diagnostics: [Diagnostic]) {
        let readings = readPolicies(files.map { PolicyText(name: $0.name, text: $0.text) })
        return (readings.documents, readings.diagnostics)
    }

    func run(listen: ListenAddress) async throws {
        let welcome = try await !fleet.hasOperators()
        let server = try fleetServer(fleet, certificate: certificate, listen: listen, logger: logger) { port in
            await started(port: port, listen: listen, first: welcome)
        }
        do {
            try await server.runService()
        } catch let error as IOError where error.errnoCode == EADDRINUSE {
            throw FleetError(
                .conflict, "\(listen.defaultValueDescription) is in use",
                remedy: "stop what listens there, or choose another port with --listen")
        } catch let error as IOError where [EACCES, EADDRNOTAVAIL].contains(error.errnoCode) {
            throw FleetError(
                .forbidden, "\(listen.defaultValueDescription) cannot be listened on: \(error)",
                remedy: "choose an address of this machine and a port above 1023 with --listen")
        }
        try store.close()
        logger.info("stopped")
    }

    private func started(port: Int, listen: ListenAddress, first: Bool) async {
        do {
            if first { try await welcome(port: port) }
        } catch {
            logger.critical("the first start failed", metadata: ["error": "\(error)"])
            return
        }
        let address = ListenAddress(host: listen.host, port: port)
        logger.info("listening on https://\(address.defaultValueDescription)")
    }

    /// Makes the admin token. The file comes before the row: a crash between them makes both again.
    private func welcome(port: Int) async throws {
        let secret = Surroundings().secret(prefix: "nfo")
        let url = names.url(port: port)
        let ca = authority.bundle.joined(separator: "\n").split(separator: "\n").map { "  \($0)" }
        let configuration = """
            server: \(url)
            ca: |
            \(ca.joined(separator: "\n"))
            token: \(secret)

            """
        try folder.write(configuration, to: Self.clientConfiguration)
        try await fleet.addOperator("admin", role: .admin, secret: secret)
        let path = folder.path(of: Self.clientConfiguration)
        let text = """

            natfleet is ready. What to do next:

              1. Operators: export NATFLEET_CONFIG=\(path)
              2. For each machine, make a join token: natfleet token create
              3. On the machine, in /etc/natfleet/agent.conf:
                   NATFLEET_CONTROLLER=\(url)
                   NATFLEET_CA_HASH=\(try authority.fingerprint)
                   NATFLEET_JOIN_TOKEN=(the token)
              4. Give the fleet a policy: natfleet apply -f policy.yaml


            """
        FileHandle.standardError.write(Data(text.utf8))
    }
}
