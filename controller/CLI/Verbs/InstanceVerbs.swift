// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: natfleet contributors

internal import ArgumentParser
internal import FleetAPI
internal import FleetModel
internal import NATPolicy

struct InstanceGroup: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "instance",
        abstract: "Label, cordon, retry or forget instances.",
        discussion: """
            Examples:
              natfleet instance label i-0123456789abcdef0 failover-group=a
              natfleet instance cordon i-0123456789abcdef0
            """,
        subcommands: [
            InstanceLabel.self, InstanceCordon.self, InstanceUncordon.self, InstanceRetry.self, InstanceForget.self,
        ]
    )
}

struct InstanceLabel: Verb {
    static let configuration = CommandConfiguration(
        commandName: "label",
        abstract: "Set labels of an instance, or take them away; policies follow at once.",
        discussion: """
            KEY=VALUE sets, KEY- takes away; all of them, or none. Keys that begin with agent/ or aws/ are not the \
            operator's to change.

            Examples:
              natfleet instance label i-0123456789abcdef0 vpc=prod failover-group=a
              natfleet instance label i-0123456789abcdef0 canary-
            """
    )

    private enum Change {
        case set(Label)
        case remove(String)

        init(_ text: String) throws {
            if !text.contains("="), text.hasSuffix("-"), text.count > 1 {
                self = .remove(String(text.dropLast()))
            } else {
                self = .set(try Label(text))
            }
        }
    }

    @Argument(help: "The instance.")
    var id: String

    @Argument(help: ArgumentHelp("KEY=VALUE, or KEY- to take a label away.", valueName: "label"))
    var labels: [String]

    @OptionGroup var connection: ConnectionOptions
    @OptionGroup var output: OutputOptions

    func validate() throws {
        try checkNames([id])
        _ = try request()
    }

    private func request() throws -> LabelRequest {
        var request = LabelRequest()
        for text in labels {
            switch try Change(text) {
            case .set(let label):
                guard request.set.updateValue(label.value, forKey: label.key) == nil else {
                    throw ValidationError("label '\(label.key)' is given twice")
                }
            case .remove(let key): request.remove.append(key)
            }
        }
        return request
    }

    func run(_ context: CLIContext) async throws {
        let answer = try await context.fleet(connection).label(id, try request())
        try context.write(answer, as: output.output) {
            let policies =
                answer.joined.map { "policy/\($0.policy) selects it now, at revision \($0.revision)" }
                + answer.left.map { "policy/\($0.policy) selects it no longer" }
            return (["instance/\(answer.instance.id) labelled \(labelText(answer.instance.labels))"] + policies)
                .map { printable($0) + "\n" }.joined()
        }
        guard !answer.joined.isEmpty || !answer.left.isEmpty else { return }
        context.note(
            answer.instance.cordoned
                ? "it is cordoned and keeps what it has; let it follow with: natfleet instance uncordon \(id)"
                : "see it arrive with: natfleet get instance \(id) --watch")
    }
}

struct InstanceCordon: Verb {
    static let configuration = CommandConfiguration(
        commandName: "cordon",
        abstract: "Have instances keep what they are asked to run.",
        discussion: """
            Applied, undone and deleted policies and changed labels pass a cordoned instance over, until it is uncordoned. \
            Its repairs go on.

            Examples:
              natfleet instance cordon i-0123456789abcdef0
            """
    )

    @Argument(help: ArgumentHelp("The instances.", valueName: "id"))
    var ids: [String]

    @OptionGroup var connection: ConnectionOptions
    @OptionGroup var output: OutputOptions

    func validate() throws { try checkNames(ids) }

    func run(_ context: CLIContext) async throws {
        let fleet = try context.fleet(connection)
        try await context.each(ids, "cordoned", as: output.output) { try await fleet.setCordoned(true, $0) }
    }
}

struct InstanceUncordon: Verb {
    static let configuration = CommandConfiguration(
        commandName: "uncordon",
        abstract: "Have cordoned instances follow again.",
        discussion: """
            They get at once what their policies say by now.

            Examples:
              natfleet instance uncordon i-0123456789abcdef0
            """
    )

    @Argument(help: ArgumentHelp("The instances.", valueName: "id"))
    var ids: [String]

    @OptionGroup var connection: ConnectionOptions
    @OptionGroup var output: OutputOptions

    func validate() throws { try checkNames(ids) }

    func run(_ context: CLIContext) async throws {
        let fleet = try context.fleet(connection)
        let instances = try await context.each(ids, "uncordoned", as: output.output) {
            try await fleet.setCordoned(false, $0)
        }
        if instances.contains(where: \.isChanging) {
            context.note("see it arrive with: natfleet get instances \(ids.joined(separator: " ")) --watch")
        }
    }
}

struct InstanceForget: Verb {
    static let configuration = CommandConfiguration(
        commandName: "forget",
        abstract: "Remove instances that are gone, with their certificates.",
        discussion: """
            A machine that still runs keeps its rules, and is refused from now on until it enrols again with a join token.

            Examples:
              natfleet instance forget i-0123456789abcdef0
            """
    )

    @Argument(help: ArgumentHelp("The instances.", valueName: "id"))
    var ids: [String]

    @OptionGroup var connection: ConnectionOptions
    @OptionGroup var output: OutputOptions

    func validate() throws { try checkNames(ids) }

    func run(_ context: CLIContext) async throws {
        let fleet = try context.fleet(connection)
        try await context.each(ids, "forgotten", as: output.output) { try await fleet.forget($0) }
        context.note("let it come back with: natfleet token create --instance ID")
    }
}

extension CLIContext {
    /// One after the other; what was done before a failure is shown.
    @discardableResult
    func each(
        _ ids: [String], _ done: String, as format: OutputFormat, _ change: (String) async throws -> Instance
    ) async throws -> [Instance] {
        var changed: [Instance] = []
        for id in ids {
            changed.append(try await change(id))
            if format == .table { output(printable("instance/\(id) \(done)") + "\n") }
        }
        if format != .table { try write(changed, as: format) { "" } }
        return changed
    }
}
