// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: natfleet contributors

internal import ArgumentParser

/// What `get` and `describe` show; singular, plural or short, as people type it.
enum Kind: String, CaseIterable, ExpressibleByArgument {
    case instances
    case policies
    case tokens
    case events

    private var names: [String] {
        switch self {
        case .instances: ["instances", "instance", "inst", "i"]
        case .policies: ["policies", "policy", "pol", "p"]
        case .tokens: ["tokens", "token", "tok"]
        case .events: ["events", "event", "ev"]
        }
    }

    init?(argument: String) {
        guard let kind = Kind.allCases.first(where: { $0.names.contains(argument.lowercased()) }) else { return nil }
        self = kind
    }
}

/// - Throws: `ValidationError` for an empty name, as a script's unset variable gives: it would ask for something else.
func checkNames(_ names: some Collection<String>) throws {
    if names.contains("") { throw ValidationError("A name is empty") }
}

/// The name in `NAME` or `policy NAME`.
///
/// - Throws: `ValidationError` when it is not one name, or empty.
func onePolicy(_ arguments: [String]) throws -> String {
    let names =
        arguments.count == 2 && Kind(argument: arguments[0]) == .policies ? arguments.dropFirst() : arguments[...]
    guard names.count == 1, let name = names.first else { throw ValidationError("Name one policy") }
    try checkNames(names)
    return name
}
