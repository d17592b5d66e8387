// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: natfleet contributors

package import FleetModel
package import NATPolicy

/// A verb that did not do what it was asked: the error, and the faults of policy files behind it.
package struct Failure: Error, Hashable {
    package var error: FleetError
    package var diagnostics: [Diagnostic]

    package init(_ error: FleetError, diagnostics: [Diagnostic] = []) {
        self.error = error
        self.diagnostics = diagnostics
    }

    /// Faults of policy files that were found on this side.
    init(faults: [Diagnostic]) {
        let error = FleetError(
            .invalidPolicy, "\(count(faults.count, "fault")) in policies; nothing was done",
            remedy: "mend what is listed above, then try again")
        self.init(error, diagnostics: faults)
    }

    /// As it goes to standard error: faults first, each with its place and remedy, then the error itself.
    var text: String {
        var lines: [String] = []
        for diagnostic in diagnostics {
            lines.append(printable(diagnostic.description))
            lines.append("  fix: \(printable(diagnostic.remedy))")
        }
        lines.append("error: \(printable(error.message))")
        let remedy = error.remedy ?? "read what docs/errors.md says of \(error.code.rawValue)"
        lines.append("  fix: \(printable(remedy))")
        return lines.map { $0 + "\n" }.joined()
    }
}
