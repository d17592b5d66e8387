// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: natfleet contributors

internal import ArgumentParser

struct RolloutHistory: Verb {
    static let configuration = CommandConfiguration(
        commandName: "history",
        abstract: "List the revisions of a policy, newest first.",
        discussion: """
            Examples:
              natfleet rollout history web-egress
              natfleet rollout history policy web-egress -o yaml
            """
    )

    @Argument(help: ArgumentHelp("The policy.", valueName: "name"))
    var policy: [String]

    @OptionGroup var connection: ConnectionOptions
    @OptionGroup var output: ListOutputOptions

    func validate() throws { _ = try onePolicy(policy) }

    func run(_ context: CLIContext) async throws {
        let revisions = try await context.fleet(connection).revisions(of: try onePolicy(policy))
        try context.list(Selection(revisions), as: output.output)
    }
}
