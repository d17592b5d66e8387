// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: natfleet contributors

internal import FleetModel
internal import NATPolicy

/// A verb that did not do what it was asked: the error, and the faults of policy files behind it.
struct Failure: Error, Hashable {
    var error: FleetError
    var diagnostics: [Diagnostic]

    init(_ error: FleetError, diagnostics: [Diagnostic] = []) {
        self.error = error
        self.diagnostics = diagnostics
    }

    /// As it goes to standard error: faults first, each with its place and remedy, then the error itself.
    var text: String {
        var lines: [String] = []
        for diagnostic in diagnostics {
            lines.append(printable(diagnostic.description))
            lines.append("  fix: \(printable(diagnostic.remedy))")
        }
        lines.append("error: \(printable(error.message))")
        if let remedy = error.remedy { lines.append("  fix: \(printable(remedy))") }
        return lines.map { $0 + "\n" }.joined()
    }
}
