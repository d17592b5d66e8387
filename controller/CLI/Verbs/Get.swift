// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: natfleet contributors

internal import ArgumentParser
internal import FleetAPI
internal import FleetModel
internal import Foundation

struct Get: Verb {
    static let configuration = CommandConfiguration(
        abstract: "List instances, policies, tokens or events.",
        discussion: """
            Examples:
              natfleet get instances
              natfleet get instances -o wide --watch
              natfleet get policy web-egress -o yaml
              natfleet get events --limit 20
            """
    )

    @OptionGroup var query: QueryOptions
    @Flag(name: [.customShort("w"), .long], help: "Go on showing what changes, until Ctrl-C.")
    var watch = false

    @OptionGroup var connection: ConnectionOptions
    @OptionGroup var output: ListOutputOptions

    func validate() throws {
        try output.check(watch: watch)
    }

    func run(_ context: CLIContext) async throws {
        let fleet = try context.fleet(connection)
        switch query.kind {
        case .instances: try await show(context) { try await query.instances(fleet) }
        case .policies: try await show(context) { try await query.policies(fleet) }
        case .tokens: try await show(context) { try await query.tokens(fleet) }
        case .events: try await show(context) { try await query.events(fleet, context.now) }
        }
    }

    private func show<Item>(_ context: CLIContext, _ fetch: () async throws -> Selection<Item>) async throws {
        let title = (["get", query.kind.rawValue] + query.names).joined(separator: " ")
        try await context.show(watch: watch, as: output.output, title: title, fetch)
    }
}

/// A kind and names of that kind; all of the kind without names.
struct QueryOptions: ParsableArguments {
    @Argument(help: "instances, policies, tokens or events; singular and short forms too (i, p, tok, ev).")
    var kind: Kind

    @Argument(help: "Names or ids; default all.")
    var names: [String] = []

    @OptionGroup var filter: EventOptions

    func validate() throws {
        if !filter.isEmpty, kind != .events {
            throw ValidationError("--limit, --since and --actor are for events only")
        }
        if kind == .events, !names.isEmpty { throw ValidationError("Events have no names") }
        try checkNames(names)
    }

    func instances(_ fleet: any FleetClient) async throws -> Selection<Instance> {
        names.isEmpty ? Selection(try await fleet.instances()) : try await each { try await fleet.instance($0) }
    }

    func policies(_ fleet: any FleetClient) async throws -> Selection<PolicyView> {
        names.isEmpty ? Selection(try await fleet.policies()) : try await each { try await fleet.policy($0) }
    }

    func tokens(_ fleet: any FleetClient) async throws -> Selection<TokenView> {
        let all = try await fleet.tokens()
        guard !names.isEmpty else { return Selection(all) }
        return try await each { id in
            guard let token = all.first(where: { $0.id == id }) else {
                throw FleetError(
                    .notFound, "there is no join token '\(id)'", remedy: "see them with: natfleet get tokens")
            }
            return token
        }
    }

    func events(_ fleet: any FleetClient, _ now: Date) async throws -> Selection<Event> {
        Selection(try await fleet.events(filter.value(now)))
    }

    private func each<Item: Resource>(_ find: (String) async throws -> Item) async throws -> Selection<Item> {
        var items: [Item] = []
        for name in names { items.append(try await find(name)) }
        return Selection(items, isSingle: names.count == 1)
    }
}
