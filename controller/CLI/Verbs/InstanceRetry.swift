// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: natfleet contributors

internal import ArgumentParser
internal import FleetModel
internal import NATPolicy

struct InstanceRetry: Verb {
    static let configuration = CommandConfiguration(
        commandName: "retry",
        abstract: "Have instances try again what they refused or took back.",
        discussion: """
            An instance does not try again what it refused or took back until the policy or the host changes. This has it \
            tried once more, at once, as it is: for when the reason is gone and nothing that the instance sees has \
            changed. Exit status 4 when there is nothing to try again. What rollouts do stays as it is.

            Examples:
              natfleet instance retry i-0123456789abcdef0
              natfleet instance retry -l vpc=prod
            """
    )

    @Argument(help: ArgumentHelp("The instances.", valueName: "id"))
    var ids: [String] = []

    @Option(
        name: .shortAndLong,
        help: ArgumentHelp(
            "Those with this label that have something to try again. Repeatable: with all of them.",
            valueName: "key=value"),
        transform: Label.init)
    var label: [Label] = []

    @OptionGroup var connection: ConnectionOptions
    @OptionGroup var output: OutputOptions

    func validate() throws {
        guard ids.isEmpty != label.isEmpty else {
            throw ValidationError("Name instances, or select them with --label, and not both")
        }
        try checkNames(ids)
        if let wrong = label.first(where: { !NameRule.isLabelKey($0.key) || !NameRule.isLabelValue($0.value) }) {
            throw ValidationError("'\(wrong.key)=\(wrong.value)' is not a label")
        }
    }

    func run(_ context: CLIContext) async throws {
        let fleet = try context.fleet(connection)
        let chosen = ids.isEmpty ? try await selected(fleet, context) : ids
        try await context.each(chosen, "tries again", as: output.output) { id in
            let instance = try await fleet.retry(id)
            if instance.health == .offline { context.note("instance/\(id) is offline: it tries when it is back") }
            return instance
        }
        context.note("see how it ends with: natfleet get instances \(chosen.joined(separator: " ")) --watch")
    }

    /// - Throws: `FleetError` notFound when nobody has the labels, conflict when none of those has anything to try.
    private func selected(_ fleet: any FleetClient, _ context: CLIContext) async throws -> [String] {
        let text = label.map { "\($0.key)=\($0.value)" }.joined(separator: ",")
        let matching = try await fleet.instances().filter { instance in
            label.allSatisfy { instance.labels[$0.key] == $0.value }
        }
        guard !matching.isEmpty else {
            throw FleetError(
                .notFound, "there is no instance with \(text)",
                remedy: "see labels with: natfleet get instances -o wide")
        }
        let chosen = matching.filter { $0.failedTry != nil }.map(\.id).sorted()
        guard !chosen.isEmpty else {
            throw FleetError(
                .conflict, "none of \(count(matching.count, "instance")) with \(text) has anything to try again",
                remedy: "see what they run: natfleet get instances -o wide")
        }
        let others = matching.count - chosen.count
        if others > 0 { context.note("\(count(others, "instance")) with \(text) passed over: nothing to try again") }
        return chosen
    }
}
