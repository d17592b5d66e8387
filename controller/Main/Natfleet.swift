// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: natfleet contributors

import ArgumentParser
import ControllerCLI
import DetachedThread
import Foundation

/// `natfleet`: the controller and its command line.
struct Natfleet: ParsableCommand {
    static let configuration = CommandConfiguration.natfleet(extra: [Serve.self, Backup.self])
}

@main
enum Program {
    static func main() async {
        endProcess(await runCLI(Natfleet.self, Array(CommandLine.arguments.dropFirst()), .process))
    }
}
