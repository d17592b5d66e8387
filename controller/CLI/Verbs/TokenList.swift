// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: natfleet contributors

internal import ArgumentParser

struct TokenList: Verb {
    static let configuration = CommandConfiguration(
        commandName: "list",
        abstract: "List join tokens, the ended ones included.",
        discussion: """
            Examples:
              natfleet token list
            """
    )

    @OptionGroup var connection: ConnectionOptions
    @OptionGroup var output: ListOutputOptions

    func run(_ context: CLIContext) async throws {
        try context.list(Selection(try await context.fleet(connection).tokens()), as: output.output)
    }
}
