// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: natfleet contributors

import ControllerHTTP
import FleetModel
import Foundation
import Hummingbird
import NIOCore
import ServiceLifecycle

/// A server that says, when it cannot listen, which option to change.
struct Listener: Service {
    let server: any ApplicationProtocol
    let address: ListenAddress
    let option: String

    func run() async throws {
        do {
            try await server.run()
        } catch let error as IOError {
            throw explain(error)
        } catch let error as SocketAddressError {
            throw FleetError(
                .badRequest, "\(address.host) is not a name or an address to listen on: \(error)",
                remedy: "give \(option) an address of this machine")
        }
    }

    private func explain(_ error: IOError) -> FleetError {
        switch error.errnoCode {
        case EADDRINUSE:
            FleetError(
                .conflict, "\(address) is in use",
                remedy: "stop what listens there, or choose another port with \(option)")
        case EACCES, EADDRNOTAVAIL:
            FleetError(
                .forbidden, "\(address) cannot be listened on: \(String(cString: strerror(error.errnoCode)))",
                remedy: "choose an address of this machine and a port above 1023 with \(option)")
        default: FleetError.fault("\(address): \(error)")
        }
    }
}
