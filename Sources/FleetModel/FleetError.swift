// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: natfleet contributors

/// What went wrong, in the words of the one catalogue (docs/errors.md has a heading for each code).
///
/// Edges map codes to their own world (HTTP status, exit code, condition) in one exhaustive switch each.
package enum ErrorCode: String, Codable, CaseIterable, Hashable, Sendable {
    /// The request or the command line cannot be understood.
    case badRequest = "bad-request"
    /// One or more faults in policy documents; the problem document lists them as `diagnostics`.
    case invalidPolicy = "invalid-policy"
    /// Two layers claim the same thing on an instance.
    case layerConflict = "layer-conflict"
    case notFound = "not-found"
    case methodNotAllowed = "method-not-allowed"
    /// Something exists already or has changed meanwhile.
    case conflict
    /// No credential, or one that is not valid.
    case unauthorized
    /// A valid credential that may not do this.
    case forbidden
    case bodyTooLarge = "body-too-large"
    case bodyTimeout = "body-timeout"
    case unsupported
    /// Retry later; nothing is wrong with the request.
    case unavailable
    /// The other side could not be reached, or not be trusted.
    case unreachable
    case timeout
    case `internal`
}

/// An error that a person or a program can act on.
package struct FleetError: Error, Hashable, Sendable, CustomStringConvertible {
    package var code: ErrorCode
    /// What, lower case, without a final period.
    package var message: String
    /// What to do next, an imperative sentence; nil only where another program left it out.
    package var remedy: String?

    package init(_ code: ErrorCode, _ message: String, remedy: String?) {
        self.code = code
        self.message = message
        self.remedy = remedy
    }

    /// What cannot happen has happened.
    package static func fault(_ message: String) -> FleetError {
        FleetError(
            .internal, message,
            remedy: "report it as a fault of natfleet's own, with this message and the log beside it")
    }

    package var description: String { remedy.map { "\(message) (fix: \($0))" } ?? message }
}
