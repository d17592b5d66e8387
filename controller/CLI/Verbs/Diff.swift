// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: natfleet contributors

internal import ArgumentParser
internal import FleetAPI
internal import FleetModel

struct Diff: Verb {
    static let configuration = CommandConfiguration(
        abstract: "Show what an apply would change, in policies and in the rules of instances.",
        discussion: """
            Nothing is stored. The rules of each instance are those that its last report of itself gives. Exit code 1 \
            says that there are differences.

            Examples:
              natfleet diff -f policy.yaml
              natfleet diff -f policies/ && echo nothing to do
            """
    )

    @Option(name: [.customShort("f"), .customLong("file")], help: .policyFiles, completion: .file())
    var files: [String]

    @OptionGroup var connection: ConnectionOptions
    @OptionGroup var output: OutputOptions

    func run(_ context: CLIContext) async throws {
        let files = try readPolicyFiles(files, context)
        let answer = try await context.fleet(connection).diff(DiffRequest(files: files))
        let changes = answer.policies.filter { $0.action != .unchanged }
        try context.write(answer, as: output.output) {
            changes.map { $0.text(colour: context.usesColour) }.joined()
                + answer.rulesText(colour: context.usesColour)
        }
        for change in answer.policies { context.notePassedOver(change.cordoned, by: change.name) }
        guard !changes.isEmpty || !answer.instances.isEmpty else { return context.note("no differences") }
        context.note(
            "\(count(changes.count, "policy")) and \(count(answer.instances.count, "instance")) would change; "
                + "do it with: natfleet apply -f")
        throw ExitCode(ExitStatus.different.rawValue)
    }
}
