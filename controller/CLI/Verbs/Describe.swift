// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: natfleet contributors

internal import ArgumentParser

struct Describe: Verb {
    static let configuration = CommandConfiguration(
        abstract: "Show instances, policies, tokens or events in full.",
        discussion: """
            Conditions of an instance come with their remedy.

            Examples:
              natfleet describe instance i-0123456789abcdef0
              natfleet describe policy web-egress
            """
    )

    @OptionGroup var query: QueryOptions
    @OptionGroup var connection: ConnectionOptions
    @OptionGroup var output: OutputOptions

    func run(_ context: CLIContext) async throws {
        let fleet = try context.fleet(connection)
        let format = output.output
        switch query.kind {
        case .instances: try context.describe(try await query.instances(fleet), as: format)
        case .policies: try context.describe(try await query.policies(fleet), as: format)
        case .tokens: try context.describe(try await query.tokens(fleet), as: format)
        case .events: try context.describe(try await query.events(fleet, context.now), as: format)
        }
    }
}
