// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: natfleet contributors

internal import ArgumentParser
internal import FleetModel

struct Version: Verb {
    static let configuration = CommandConfiguration(
        abstract: "Print the version.",
        discussion: """
            Examples:
              natfleet version -o json
            """
    )

    private struct Answer: Encodable {
        var version: String
    }

    @OptionGroup var output: OutputOptions

    func run(_ context: CLIContext) async throws {
        try context.write(Answer(version: NatfleetVersion.current), as: output.output) {
            "natfleet \(NatfleetVersion.current)\n"
        }
    }
}
