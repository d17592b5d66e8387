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
        case .untrusted:
            self.init(
                .unreachable, "\(server) is not the controller that the client configuration trusts: \(error.message)",
                remedy: "reach it by a name given to 'natfleet serve --advertise', and copy ca from its admin.yaml")
        case .tls:
            self.init(
                .unreachable, "the connection to \(server) broke before it was secure: \(error.message)",
                remedy: "see whether natfleet serve listens there, with nothing between that ends or inspects TLS")
        case .tooLarge:
            self.init(.internal, "\(server) answered too much: \(error.message)", remedy: "ask for less at once")
        case .cancelled:
            self.init(.timeout, "interrupted before \(server) answered", remedy: "try again")
        }
    }
}
