// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: natfleet contributors

internal import ArgumentParser
internal import FleetAPI
internal import NATPolicy
internal import PolicyYAML

struct Delete: Verb {
    static let configuration = CommandConfiguration(
        abstract: "Delete policies; their instances take the rules away.",
        discussion: """
            All are deleted, or none. Rules of other policies and of other programs stay. Cordoned instances keep the rules \
            until they are uncordoned, and are named.

            Examples:
              natfleet delete policy web-egress
              natfleet delete -f policy.yaml
            """
    )

    @Option(name: [.customShort("f"), .customLong("file")], help: .policyFiles, completion: .file())
    var files: [String] = []

    @Argument(help: ArgumentHelp("'policy' and the names of policies.", valueName: "policy name"))
    var names: [String] = []

    @OptionGroup var connection: ConnectionOptions
    @OptionGroup var output: OutputOptions

    func validate() throws {
        guard files.isEmpty != names.isEmpty else {
            throw ValidationError("Name policies, or files with -f, and not both")
        }
        if !names.isEmpty { _ = try namedPolicies() }
    }

    func run(_ context: CLIContext) async throws {
        let names = files.isEmpty ? try namedPolicies() : try readPolicies(files, context).documents.map(\.name)
        let answer = try await context.fleet(connection).delete(DeleteRequest(names: names))
        try context.write(answer, as: output.output) { answer.policies.map(\.line).joined() }
        for change in answer.policies { context.notePassedOver(change.cordoned, by: change.name) }
    }

    /// The kind has to be said: a delete that guesses is one too many.
    private func namedPolicies() throws -> [String] {
        guard names.count > 1, Kind(argument: names[0]) == .policies else {
            throw ValidationError("Write 'policy' and then the names: only policies can be deleted")
        }
        try checkNames(names)
        return Array(names.dropFirst())
    }
}
