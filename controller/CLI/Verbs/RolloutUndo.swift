// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: natfleet contributors

internal import ArgumentParser
internal import FleetAPI

struct RolloutUndo: Verb {
    static let configuration = CommandConfiguration(
        commandName: "undo",
        abstract: "Give a policy the content that it had before.",
        discussion: """
            The old content becomes a new revision for all members at once; nothing is taken from the history.

            Examples:
              natfleet rollout undo web-egress
              natfleet rollout undo policy web-egress --to-revision 3
            """
    )

    @Argument(help: ArgumentHelp("The policy.", valueName: "name"))
    var policy: [String]

    @Option(help: ArgumentHelp("The revision to go back to; default the one before.", valueName: "n"))
    var toRevision: Int?

    @OptionGroup var connection: ConnectionOptions
    @OptionGroup var output: OutputOptions

    func validate() throws {
        _ = try onePolicy(policy)
        if let toRevision, toRevision < 1 { throw ValidationError("--to-revision is at least 1") }
    }

    func run(_ context: CLIContext) async throws {
        let fleet = try context.fleet(connection)
        let change = try await fleet.undo(try onePolicy(policy), UndoRequest(toRevision: toRevision))
        try context.write(change, as: output.output) { change.line }
        context.adviseAfter([change])
    }
}
