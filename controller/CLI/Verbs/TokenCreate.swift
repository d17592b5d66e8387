// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: natfleet contributors

internal import ArgumentParser
internal import FleetAPI

struct TokenCreate: Verb {
    static let configuration = CommandConfiguration(
        commandName: "create",
        abstract: "Make a join token and print its secret.",
        discussion: """
            The secret is shown once: the controller keeps a hash of it. Put it into /etc/natfleet/agent.conf as \
            NATFLEET_JOIN_TOKEN. Without --instance the machine enrols under a name of its own, as ext-NAME.

            Examples:
              natfleet token create --instance i-0123456789abcdef0 --label vpc=prod
              natfleet token create --label vpc=lab --uses 3 --ttl 15m
            """
    )

    @Option(help: ArgumentHelp("The instance that the token vouches for.", valueName: "id"))
    var instance: String?

    @Option(
        name: .customLong("label"),
        help: ArgumentHelp("A label that the instance gets. Repeatable.", valueName: "key=value"),
        transform: Label.init)
    var labels: [Label] = []

    @Option(help: "How many machines may enrol with it.")
    var uses: Int = 1

    @Option(
        help: ArgumentHelp("How long it is good for: 90s, 15m, 1h, 7d. (default: 1h)", valueName: "time"),
        transform: TimeSpan.init)
    var ttl: TimeSpan?

    @OptionGroup var connection: ConnectionOptions
    @OptionGroup var output: OutputOptions

    func validate() throws {
        guard uses >= 1 else { throw ValidationError("--uses is at least 1") }
        let keys = labels.map(\.key)
        if let twice = keys.first(where: { key in keys.count { $0 == key } > 1 }) {
            throw ValidationError("label '\(twice)' is given twice")
        }
    }

    func run(_ context: CLIContext) async throws {
        let request = TokenRequest(
            instanceID: instance, labels: Dictionary(uniqueKeysWithValues: labels.map { ($0.key, $0.value) }),
            uses: uses, ttl: ttl?.seconds ?? 3600)
        let token = try await context.fleet(connection).createToken(request)
        try context.write(token, as: output.output) { printable(token.secret ?? "") + "\n" }
        context.note("token \(token.id): \(count(token.usesLeft, "use")), ends \(moment(token.expiresAt, context.now))")
        context.note("put it into /etc/natfleet/agent.conf as NATFLEET_JOIN_TOKEN; it is not shown again")
    }
}

/// `KEY=VALUE`
struct Label: Hashable {
    var key: String
    var value: String

    init(_ text: String) throws {
        guard let equals = text.firstIndex(of: "="), equals != text.startIndex else {
            throw ValidationError("'\(text)' is not a label: write KEY=VALUE")
        }
        key = String(text[..<equals])
        value = String(text[text.index(after: equals)...])
    }
}

/// `90s`, `15m`, `1h`, `7d`: at least a second, at most 366 days.
struct TimeSpan: Hashable {
    var seconds: Int

    init(_ text: String) throws {
        let units: [Character: Int] = ["s": 1, "m": 60, "h": 3600, "d": 86_400]
        guard let unit = text.last.flatMap({ units[$0] }), let number = Int(text.dropLast()),
            (1...366 * 86_400 / unit).contains(number)
        else { throw ValidationError("'\(text)' is not a time up to a year: write 90s, 15m, 1h or 7d") }
        seconds = number * unit
    }
}
