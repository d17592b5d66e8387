// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: natfleet contributors

internal import ArgumentParser

/// How to find the controller; part of every verb that speaks to it.
struct ConnectionOptions: ParsableArguments {
    @Option(
        help: ArgumentHelp(
            "Client configuration.",
            discussion: "Default: $NATFLEET_CONFIG, then ~/.config/natfleet/config.yaml.", valueName: "file"),
        completion: .file(extensions: ["yaml"]))
    var config: String?
}

struct OutputOptions: ParsableArguments {
    @Option(name: [.short, .long], help: "Output format: table, json or yaml.")
    var output: OutputFormat = .table
}

struct ListOutputOptions: ParsableArguments {
    @Option(name: [.short, .long], help: "Output format: table, wide, name, json or yaml.")
    var output: ListFormat = .table

    /// - Throws: `ValidationError` for a format that a watch does not have.
    func check(watch: Bool) throws {
        if watch, [.json, .yaml].contains(output) {
            throw ValidationError("--watch shows table, wide or name only")
        }
    }
}

extension ArgumentHelp {
    static let policyFiles = ArgumentHelp(
        "Policy file, YAML or JSON; a folder for the policy files in it; - for standard input. Repeatable.",
        valueName: "file")
}
