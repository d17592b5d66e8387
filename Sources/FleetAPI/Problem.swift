// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: natfleet contributors

package import FleetModel
package import NATPolicy

/// RFC 9457 problem document: the body of every answer that is an error, as `application/problem+json`.
package struct Problem: Codable, Hashable, Sendable {
    package static let contentType = "application/problem+json"

    /// `/errors#CODE`: the heading in docs/errors.md.
    package var type: String
    package var title: String
    package var status: Int
    package var detail: String
    package var code: ErrorCode
    package var remedy: String?
    /// Faults of policy documents, all at once.
    package var diagnostics: [Diagnostic]?

    package init(_ error: FleetError, status: Int, diagnostics: [Diagnostic]? = nil) {
        self.type = "/errors#\(error.code.rawValue)"
        self.title = error.code.rawValue.split(separator: "-").joined(separator: " ")
        self.status = status
        self.detail = error.message
        self.code = error.code
        self.remedy = error.remedy
        self.diagnostics = diagnostics
    }

    /// The error that the other side meant.
    package var error: FleetError { FleetError(code, detail, remedy: remedy) }
}
