// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: natfleet contributors

import ArgumentParser
import ControllerCore
import ControllerHTTP
import ControllerPKI
import ControllerStore
import FleetModel
import Foundation
import Hummingbird
import Logging
import NATPolicy
import PolicyYAML

struct Serve: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Run the controller.",
        discussion: """
            Needs no configuration. The first start makes the data folder, the database, the fleet's certificate \
            authority, the server certificate and an admin token, and says what to do next.
            """)

    @Option(help: ArgumentHelp("Folder for everything that the controller keeps.", valueName: "dir"))
    var data = "/var/lib/natfleet"

    @Option(help: ArgumentHelp("Address and port to listen on; port 0 takes a free one.", valueName: "addr:port"))
    var listen = ListenAddress(host: "127.0.0.1", port: 8443)

    @Option(
        help: ArgumentHelp(
            "Name or address under which agents and operators reach the controller; repeatable.", valueName: "name"))
    var advertise: [String] = []

    func run() async throws {
        LoggingSystem.bootstrap { StreamLogHandler.standardError(label: $0) }
        do {
            try await serve()
        } catch let error as FleetError {
            FileHandle.standardError.write(Data("error: \(error.message)\n".utf8))
            if let remedy = error.remedy { FileHandle.standardError.write(Data("  fix: \(remedy)\n".utf8)) }
            throw ExitCode(1)
        }
    }

    private func serve() async throws {
        let logger = Logger(label: "natfleet")
        let controller = try await Controller.open(
            data: data, names: Names(listen: listen, advertise: advertise), logger: logger)
        try await controller.run(listen: listen)
    }
}
