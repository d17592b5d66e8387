// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: natfleet contributors

import ArgumentParser
import ControllerCLI
import ControllerCore
import ControllerStore
import Foundation

struct Backup: Verb {
    static let configuration = CommandConfiguration(
        abstract: "Copy a controller's data folder, while it runs.",
        discussion: """
            The copy is consistent and is a data folder itself: to restore it, put it where the old one was and start the \
            controller. It holds the key of the fleet's authority and the admin token: keep it as secret as the folder \
            itself. Run this on the controller's machine, as its user or as root.

            Examples:
              natfleet backup --to /srv/backup/natfleet-monday
              natfleet serve --data /srv/backup/natfleet-monday
            """)

    @Option(help: ArgumentHelp("Data folder of the controller.", valueName: "dir"), completion: .directory)
    var data = Controller.defaultData

    @Option(help: ArgumentHelp("Folder to make; must not be there yet.", valueName: "dir"), completion: .directory)
    var to: String

    func run(_ context: CLIContext) async throws {
        let mask = umask(0o077)
        defer { umask(mask) }
        try backUp(
            data, to: to, database: Controller.database, needed: [Controller.authorityFile],
            copyDatabase: SQLiteStore.copy)
        context.note("backup of \(data) in \(to)")
    }
}
