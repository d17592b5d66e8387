// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: natfleet contributors

import ArgumentParser
import ControllerCLI
import Foundation

/// `natfleet`: the controller and its command line.
@main
struct Natfleet: AsyncParsableCommand {
    static let configuration = CommandConfiguration.natfleet(extra: [Serve.self])

    static func main() async {
        Foundation.exit(await runCLI(Natfleet.self, Array(CommandLine.arguments.dropFirst()), .process))
    }
}
