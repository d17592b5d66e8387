// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: natfleet contributors

import ArgumentParser
import FleetModel

/// `natfleet`: the controller and its command line.
@main
struct Natfleet: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "natfleet",
        abstract: "Keeps a fleet of NAT instances doing exactly what was asked.",
        version: NatfleetVersion.current,
        subcommands: [Serve.self, Version.self])
}

struct Version: ParsableCommand {
    static let configuration = CommandConfiguration(abstract: "Print the version.")

    func run() { print("natfleet \(NatfleetVersion.current)") }
}
