// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: natfleet contributors

internal import ArgumentParser
internal import FleetAPI

struct Apply: Verb {
    static let configuration = CommandConfiguration(
        abstract: "Store policies and make their instances run them.",
        discussion: """
            All documents of all files are stored, or none. A changed policy gets a new revision; an unchanged one stays \
            as it is. Cordoned instances keep what they have until they are uncordoned, and are named. Undo with \
            'natfleet rollout undo NAME'.

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
        for change in changes { notePassedOver(change.cordoned, by: change.name) }
        for change in changes where change.instances.isEmpty && change.cordoned.isEmpty {
            note("policy/\(change.name) selects no instance; compare its selector with: natfleet get instances -o yaml")
        }
        if changes.contains(where: { $0.action != .unchanged && !$0.instances.isEmpty }) {
            note("see it arrive with: natfleet get instances")
        }
    }

    /// All of them: they go on with what the operator has just changed.
    func notePassedOver(_ ids: [String], by policy: String) {
        guard !ids.isEmpty else { return }
        note(
            "policy/\(policy) passes over \(ids.joined(separator: ", ")): cordoned; let \(ids.count == 1 ? "it" : "them") "
                + "follow with: natfleet instance uncordon \(ids.joined(separator: " "))")
    }
}

extension PolicyChange {
    /// What a person reads of it.
    var line: String {
        let passed = cordoned.isEmpty ? "" : ", \(cordoned.count) cordoned"
        let effect = "revision \(revision), \(count(instances.count, "instance"))\(passed)"
        return printable("policy/\(name) \(action.rawValue) (\(effect))") + "\n"
    }
}
