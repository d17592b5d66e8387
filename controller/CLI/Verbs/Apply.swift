// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: natfleet contributors

internal import ArgumentParser
internal import FleetAPI

struct Apply: Verb {
    static let configuration = CommandConfiguration(
        abstract: "Store policies and make their instances run them.",
        discussion: """
            All documents of all files are stored, or none. A changed policy gets a new revision; an unchanged one stays \
            as it is. Undo with 'natfleet rollout undo NAME'.

            Examples:
              natfleet apply -f policy.yaml
              natfleet apply -f policy.yaml --expect-revision 3
              natfleet apply -f base.yaml -f policies/ -m "open port 8001"
              generate-policy | natfleet apply -f -
            """
    )

    @Option(name: [.customShort("f"), .customLong("file")], help: .policyFiles, completion: .file())
    var files: [String]

    @Option(name: [.short, .long], help: "Why, for the history of the policies.")
    var message: String?

    @Option(
        help: ArgumentHelp(
            "Refuse when the policy is at another revision by now; 0 for one that is not there.", valueName: "n"))
    var expectRevision: Int?

    @OptionGroup var connection: ConnectionOptions
    @OptionGroup var output: OutputOptions

    func validate() throws {
        if let expectRevision, expectRevision < 0 { throw ValidationError("--expect-revision is 0 or more") }
    }

    func run(_ context: CLIContext) async throws {
        let files = try readPolicyFiles(files, context)
        let request = ApplyRequest(files: files, message: message, expectRevision: expectRevision)
        let answer = try await context.fleet(connection).apply(request)
        try context.write(answer, as: output.output) { answer.policies.map(\.line).joined() }
        context.adviseAfter(answer.policies)
    }
}

extension CLIContext {
    /// What to look at after policies were stored.
    func adviseAfter(_ changes: [PolicyChange]) {
        for change in changes where change.instances.isEmpty {
            note("policy/\(change.name) selects no instance; compare its selector with: natfleet get instances -o yaml")
        }
        if changes.contains(where: { $0.action != .unchanged && !$0.instances.isEmpty }) {
            note("see it arrive with: natfleet get instances")
        }
    }
}

extension PolicyChange {
    /// What a person reads of it.
    var line: String {
        let effect = "revision \(revision), \(count(instances.count, "instance"))"
        return printable("policy/\(name) \(action.rawValue) (\(effect))") + "\n"
    }
}
