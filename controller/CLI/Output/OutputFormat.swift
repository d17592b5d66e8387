// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: natfleet contributors

internal import ArgumentParser
internal import FleetAPI
internal import Foundation

/// How data leaves on standard output. `table` is for people and may change; the others are the API's own values.
enum OutputFormat: String, CaseIterable, ExpressibleByArgument {
    case table
    case json
    case yaml
}

/// How lists leave: as `OutputFormat`, or in two more ways.
enum ListFormat: String, CaseIterable, ExpressibleByArgument {
    case table
    /// The table with more columns.
    case wide
    /// `instance/i-0abc`, a line each, for other programs.
    case name
    case json
    case yaml
}

extension CLIContext {
    /// Prints `value` in the format asked for: the one place where formats are told apart.
    ///
    /// - Parameter people: what a person gets instead.
    func write(_ value: some Encodable, as format: OutputFormat, people: () -> String) throws {
        switch format {
        case .table: output(people())
        case .json: output(String(decoding: try WireJSON.encode(value, pretty: true), as: UTF8.self) + "\n")
        case .yaml: output(try yamlText(value))
        }
    }
}
