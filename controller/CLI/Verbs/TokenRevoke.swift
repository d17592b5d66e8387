// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: natfleet contributors

internal import ArgumentParser

struct TokenRevoke: Verb {
    static let configuration = CommandConfiguration(
        commandName: "revoke",
        abstract: "End join tokens now.",
        discussion: """
            Instances that enrolled with it stay enrolled.

            Examples:
              natfleet token revoke TOKEN-ID
            """
    )

    @Argument(help: "Ids of join tokens, as 'natfleet token list' shows them.")
    var ids: [String]

    @OptionGroup var connection: ConnectionOptions

    func validate() throws { try checkNames(ids) }

    func run(_ context: CLIContext) async throws {
        let fleet = try context.fleet(connection)
        for id in ids {
            try await fleet.revokeToken(id)
            context.output(printable("token/\(id) revoked") + "\n")
        }
    }
}
