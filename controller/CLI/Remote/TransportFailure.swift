// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: natfleet contributors

internal import FleetModel
internal import HTTPSClient

extension FleetError {
    /// An answer that never came, in the catalogue's words.
    init(_ error: TransportError, server: String) {
        switch error.code {
        case .unresolved, .unreachable, .interrupted, .other:
            self.init(
                .unreachable, "no answer from \(server): \(error.message)",
                remedy: "see whether natfleet serve runs there, and check server in the client configuration")
        case .timedOut:
            self.init(
                .timeout, "no answer from \(server) in time: \(error.message)",
                remedy: "check the path to it (routes, security groups), then try again")
        case .untrusted, .tls:
            self.init(
                .unreachable, "\(server) is not the controller that the client configuration trusts: \(error.message)",
                remedy: "copy ca from the controller's admin.yaml, and reach it by a name given to serve --advertise")
        case .tooLarge:
            self.init(.internal, "\(server) answered too much: \(error.message)", remedy: "ask for less at once")
        case .cancelled:
            self.init(.timeout, "interrupted before \(server) answered", remedy: "try again")
        }
    }
}
