// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: natfleet contributors

import ArgumentParser
import ControllerHTTP
import Foundation
import Logging

struct Serve: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Run the controller.",
        discussion: """
            Needs no configuration. The first start makes the data folder, the database, the fleet's certificate \
            authority, the server certificate and an admin token, and says what to do next.

            Examples:
              natfleet serve
              natfleet serve --listen 0.0.0.0:8443 --advertise controller.example
            """)

    @Option(
        help: ArgumentHelp("Folder for everything that the controller keeps.", valueName: "dir"),
        completion: .directory)
    var data = Controller.defaultData

    @Option(help: ArgumentHelp("Address and port to listen on; port 0 takes a free one.", valueName: "addr:port"))
    var listen = ListenAddress(host: "127.0.0.1", port: 8443)

    @Option(
        help: ArgumentHelp(
            "Address and port for monitoring, in plain HTTP: /metrics, /live and /ready; `off` for none.",
            valueName: "addr:port"))
    var metricsListen = MetricsListen.on(ListenAddress(host: "127.0.0.1", port: 9443))

    @Option(
        help: ArgumentHelp(
            "Name or address under which agents and operators reach the controller; goes into its certificate. "
                + "Repeatable.",
            valueName: "name"))
    var advertise: [ServerName] = []

    func run() async throws {
        LoggingSystem.bootstrap { StreamLogHandler.standardError(label: $0) }
        // Nothing that the controller writes is anyone else's business.
        umask(0o077)
        let controller = try await Controller.open(
            data: data, names: Names(listen: listen, advertise: advertise.map(\.text)),
            logger: Logger(label: "natfleet"))
        try await controller.run(listen: listen, metrics: metricsListen.address)
    }
}
