// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: natfleet contributors

internal import ArgumentParser

struct Rollout: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Show the revisions of a policy and go back to one.",
        discussion: """
            Examples:
              natfleet rollout history web-egress
              natfleet rollout undo web-egress --to-revision 3
            """,
        subcommands: [RolloutHistory.self, RolloutUndo.self]
    )
}
