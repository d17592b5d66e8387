// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: natfleet contributors

internal import ArgumentParser
internal import FleetAPI
internal import NetAddress

struct TokenCreate: Verb {
    static let configuration = CommandConfiguration(
        commandName: "create",
        abstract: "Make a join token and print its secret.",
        discussion: """
            The secret is shown once: the controller keeps a hash of it. Put it into /etc/natfleet/agent.conf as \
            NATFLEET_JOIN_TOKEN. Without --instance the machine enrols under a name of its own, as ext-NAME.

            -o user-data prints cloud-init user-data that configures and starts the agent of an image where it is \
            installed. It holds the secret. Name the networks of the machine's VPC with --vpc-cidr: they are what \
            'sources: vpc' means in a policy, which is the default.

            Examples:
              natfleet token create --instance i-0123456789abcdef0 --label vpc=prod
              natfleet token create --label vpc=lab --uses 3 --ttl 15m
              natfleet token create --label vpc=prod --vpc-cidr 10.0.0.0/16 -o user-data > user-data.yaml
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

    @Option(
        name: .customLong("vpc-cidr"),
        help: ArgumentHelp("A network of the machine's VPC, for user-data. Repeatable.", valueName: "cidr"),
        transform: VPCNetwork.init)
    var networks: [VPCNetwork] = []

    @OptionGroup var connection: ConnectionOptions
    @Option(name: [.short, .long], help: "Output format: table, json, yaml or user-data.")
    var output: TokenFormat = .table

    func validate() throws {
        guard uses >= 1 else { throw ValidationError("--uses is at least 1") }
        let keys = labels.map(\.key)
        if let twice = keys.first(where: { key in keys.count { $0 == key } > 1 }) {
            throw ValidationError("label '\(twice)' is given twice")
        }
        guard networks.isEmpty || output == .userData else {
            throw ValidationError("--vpc-cidr is for -o user-data only")
        }
    }

    func run(_ context: CLIContext) async throws {
        let request = TokenRequest(
            instanceID: instance, labels: Dictionary(uniqueKeysWithValues: labels.map { ($0.key, $0.value) }),
            uses: uses, ttl: ttl?.seconds ?? 3600)
        let configuration = try context.configuration(connection)
        // Before a token is made that nobody would see.
        let hash = output == .userData ? try configuration.caHash() : ""
        let token = try await context.connect(configuration).createToken(request)
        let secret = printable(token.secret ?? "")
        context.note("token \(token.id): \(count(token.usesLeft, "use")), ends \(moment(token.expiresAt, context.now))")
        switch output {
        case .table, .json, .yaml:
            try context.write(token, as: OutputFormat(rawValue: output.rawValue) ?? .table) { secret + "\n" }
            context.note("put it into /etc/natfleet/agent.conf as NATFLEET_JOIN_TOKEN; it is not shown again")
        case .userData:
            context.output(
                userData(
                    controller: configuration.server, caHash: hash, secret: secret, instance: token.instanceID,
                    networks: networks.map(\.cidr)))
            if networks.isEmpty {
                context.note(
                    "a machine refuses 'sources: vpc', the default, until it knows its VPC: name it with --vpc-cidr")
            }
            context.note("give it to machines as user-data; who reads it can enrol until the token ends")
        }
    }
}

enum TokenFormat: String, CaseIterable, ExpressibleByArgument {
    case table
    case json
    case yaml
    case userData = "user-data"
}

/// For cloud-init: files are written before commands run, and the file is never readable by others.
private func userData(
    controller: String, caHash: String, secret: String, instance: String?, networks: [CIDR]
) -> String {
    let identity = instance.map { "\n      NATFLEET_INSTANCE_ID=\(printable($0))" } ?? ""
    let vpc =
        networks.isEmpty
        ? "# Networks of the VPC, what 'sources: vpc' means:\n      #NATFLEET_VPC_CIDRS=10.0.0.0/16"
        : "NATFLEET_VPC_CIDRS=\(networks.map(\.description).joined(separator: ","))"
    return """
        #cloud-config
        # Configures and starts natfleet-agent on an image where it is installed. Holds a join token: keep it secret.
        write_files:
          - path: /etc/natfleet/agent.conf
            owner: root:root
            permissions: "0600"
            content: |
              NATFLEET_CONTROLLER=\(printable(controller))
              NATFLEET_CA_HASH=\(caHash)
              NATFLEET_JOIN_TOKEN=\(secret)\(identity)
              \(vpc)
        runcmd:
          - [systemctl, daemon-reload]
          - [systemctl, enable, --now, natfleet-forwarding.service, natfleet-agent.service]

        """
}

/// `10.0.0.0/16`: neither one machine nor everybody.
struct VPCNetwork: Hashable {
    var cidr: CIDR

    init(_ text: String) throws {
        do throws(AddressError) {
            cidr = try CIDR(text)
        } catch {
            throw ValidationError("\(error.message): \(error.remedy)")
        }
        guard !cidr.isSingleAddress, !cidr.isEverything else {
            throw ValidationError("'\(text)' is not the network of a VPC: write it like 10.0.0.0/16 or 2001:db8::/56")
        }
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
