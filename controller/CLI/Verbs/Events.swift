// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: natfleet contributors

internal import ArgumentParser
internal import FleetAPI
internal import Foundation

struct Events: Verb {
    static let configuration = CommandConfiguration(
        abstract: "Show who did what, newest first.",
        discussion: """
            Examples:
              natfleet events --since 1h
              natfleet events --since 2030-01-31T12:00:00Z --actor operator:admin -o json
              natfleet events --watch
            """
    )

    @OptionGroup var filter: EventOptions

    @Flag(name: [.customShort("w"), .long], help: "Go on showing what happens, until Ctrl-C.")
    var watch = false

    @OptionGroup var connection: ConnectionOptions
    @OptionGroup var output: ListOutputOptions

    func validate() throws { try output.check(watch: watch) }

    func run(_ context: CLIContext) async throws {
        let fleet = try context.fleet(connection)
        let filter = filter.value(context.now)
        try await context.show(watch: watch, as: output.output, title: "events") {
            Selection(try await fleet.events(filter))
        }
    }
}

/// Which events.
struct EventOptions: ParsableArguments {
    @Option(help: "How many events, newest first; up to 1000. (default: 50)")
    var limit: Int?

    @Option(help: ArgumentHelp("Only what happened since: 15m, 1h, 7d, or a moment in ISO 8601.", valueName: "time"))
    var since: Since?

    @Option(help: ArgumentHelp("Only what they did: operator:admin, or admin alone.", valueName: "name"))
    var actor: String?

    var isEmpty: Bool { limit == nil && since == nil && actor == nil }

    func validate() throws {
        if let limit, !(1...1000).contains(limit) { throw ValidationError("--limit is 1 to 1000") }
    }

    func value(_ now: Date) -> EventFilter {
        let since: Date? =
            switch since {
            case .moment(let date): date
            case .span(let span): now.addingTimeInterval(-Double(span.seconds))
            case nil: nil
            }
        return EventFilter(limit: limit ?? 50, since: since, actor: actor)
    }
}

/// A moment, or how long ago.
enum Since: ExpressibleByArgument {
    case moment(Date)
    case span(TimeSpan)

    init?(argument: String) {
        if let date = try? Date(argument, strategy: .iso8601) {
            self = .moment(date)
        } else if let span = try? TimeSpan(argument) {
            self = .span(span)
        } else {
            return nil
        }
    }
}
