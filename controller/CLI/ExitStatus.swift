// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: natfleet contributors

internal import FleetModel

/// What the shell gets (docs/cli.md). 7 and 8 belong to verbs that roll out.
enum ExitStatus: Int32, CaseIterable {
    case done = 0
    /// `diff` found differences, `import` left something over.
    case different = 1
    case usage = 2
    case notFound = 3
    case conflict = 4
    case denied = 5
    case unreachable = 6
    /// A fault of natfleet's own: EX_SOFTWARE of sysexits.h.
    case software = 70

    init(_ code: ErrorCode) {
        switch code {
        case .badRequest, .invalidPolicy, .bodyTooLarge, .methodNotAllowed, .unsupported: self = .usage
        case .notFound: self = .notFound
        case .conflict, .layerConflict: self = .conflict
        case .unauthorized, .forbidden: self = .denied
        case .unreachable, .unavailable, .timeout, .bodyTimeout: self = .unreachable
        case .internal: self = .software
        }
    }
}
