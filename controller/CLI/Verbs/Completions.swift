// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: natfleet contributors

internal import ArgumentParser

struct Completions: Verb {
    static let configuration = CommandConfiguration(
        abstract: "Print completions for a shell.",
        discussion: """
            Examples:
              natfleet completions bash > /etc/bash_completion.d/natfleet
              natfleet completions zsh > "${fpath[1]}/_natfleet"
              natfleet completions fish > ~/.config/fish/completions/natfleet.fish
            """
    )

    enum Shell: String, CaseIterable, ExpressibleByArgument {
        case bash
        case zsh
        case fish
    }

    /// The script is of the root command, which only `runCLI` knows.
    struct Request: Error {
        let shell: CompletionShell
    }

    @Argument(help: "bash, zsh or fish.")
    var shell: Shell

    func run(_ context: CLIContext) async throws {
        if let shell = CompletionShell(rawValue: shell.rawValue) { throw Request(shell: shell) }
    }
}
