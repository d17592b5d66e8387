// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: natfleet contributors

import ControllerCore
import FleetModel
import HTTPTypes
import Hummingbird
package import NIOCore
import NIOSSL

/// Reads the peer's certificate, DER; nil when it showed none.
package typealias PeerCertificate = @Sendable (any Channel) async throws -> [UInt8]?

/// The one place that decides who calls. TLS proves only that the peer has the key of the certificate that it showed
/// (any certificate gets this far); everything else is checked here, for each request. A route that is in no table is
/// shut.
struct Gate: RouterMiddleware {
    let fleet: Fleet
    let access: [RouteKey: Access]
    let peerCertificate: PeerCertificate

    func handle(
        _ request: Request, context: FleetContext, next: (Request, FleetContext) async throws -> Response
    ) async throws -> Response {
        // No path matched: whatever follows answers 404 or 405.
        guard let path = context.endpointPath else { return try await next(request, context) }
        guard let access = access[RouteKey(method: request.method, path: path)] else {
            throw FleetError(.unauthorized, "nobody may call this", remedy: "call one of the paths of docs/api.md")
        }
        var context = context
        switch access {
        case .anyone: break
        case .agent:
            guard let certificate = try await peerCertificate(context.channel) else {
                throw FleetError(
                    .unauthorized, "no client certificate",
                    remedy: "enrol first; agents call this with the certificate that they got")
            }
            context.caller = .agent(try await fleet.authenticate(certificate: certificate))
        case .operator(let role):
            let identity = try await fleet.authenticate(operatorToken: try bearer(request))
            guard identity.role >= role else {
                throw FleetError(
                    .forbidden, "\(identity.name) has the role \(identity.role.rawValue), this needs \(role.rawValue)",
                    remedy: "use the token of an operator with that role")
            }
            context.caller = .operator(identity)
        }
        return try await next(request, context)
    }

    private func bearer(_ request: Request) throws -> String {
        let words = request.headers[.authorization]?.split(separator: " ") ?? []
        guard words.count == 2, words[0].lowercased() == "bearer" else {
            throw FleetError(
                .unauthorized, "no operator token",
                remedy: "send `Authorization: Bearer TOKEN`, the token of the client configuration")
        }
        return String(words[1])
    }
}

/// A method and a path pattern of the router.
struct RouteKey: Hashable {
    let method: HTTPRequest.Method
    let path: String
}

/// The certificate of the TLS handler in the channel's pipeline.
package func peerCertificateOfTLS(_ channel: any Channel) async throws -> [UInt8]? {
    try await channel.eventLoop.submit {
        try channel.pipeline.syncOperations.handler(type: NIOSSLServerHandler.self).peerCertificate?.toDERBytes()
    }.get()
}
