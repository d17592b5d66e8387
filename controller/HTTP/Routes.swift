// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: natfleet contributors

package import ControllerCore
import FleetAPI
import FleetModel
import HTTPTypes
package import Hummingbird
import NIOCore
import ServiceLifecycle

#if canImport(FoundationEssentials)
    import FoundationEssentials
#else
    import Foundation
#endif

/// Limits of request bodies, by who sends them.
package struct BodyLimits: Hashable, Sendable {
    package var small: BodyLimit
    package var files: BodyLimit

    package init(small: BodyLimit = .small, files: BodyLimit = .files) {
        self.small = small
        self.files = files
    }
}

/// One call of the API: who may make it, and what it does.
struct Route: Sendable {
    let key: RouteKey
    let access: Access
    let handler: @Sendable (Request, FleetContext) async throws -> Response

    /// A call that answers JSON.
    init(
        _ method: HTTPRequest.Method, _ path: String, _ access: Access,
        _ handler: @escaping @Sendable (Request, FleetContext) async throws -> any Encodable & Sendable
    ) {
        self.key = RouteKey(method: method, path: path)
        self.access = access
        self.handler = { request, context in
            try answer(WireJSON.encode(try await handler(request, context)), type: "application/json")
        }
    }

    /// A document that anyone may read.
    init(_ path: String, type: String, _ bytes: [UInt8]) {
        self.key = RouteKey(method: .get, path: path)
        self.access = .anyone
        self.handler = { _, _ in answer(bytes, type: type) }
    }
}

/// Routes of everything under `/v1`, behind the gate, with problem documents around all of it.
package func fleetRouter(
    _ fleet: Fleet, limits: BodyLimits = BodyLimits(), meter: RequestMeter = RequestMeter(),
    peerCertificate: @escaping PeerCertificate
) -> Router<FleetContext> {
    let routes =
        agentRoutes(fleet, limits) + operatorRoutes(fleet, limits)
        + [Route(Endpoints.openAPI, type: "application/yaml", PackageResources.openapi_yaml)]
    let router = Router(context: FleetContext.self)
    let access = Dictionary(uniqueKeysWithValues: routes.map { ($0.key, $0.access) })
    router.middlewares.add(Metering(meter: meter))
    router.middlewares.add(Problems(routes: routes.map(\.key)))
    router.middlewares.add(Gate(fleet: fleet, access: access, peerCertificate: peerCertificate))
    for route in routes {
        router.on(RouterPath(route.key.path), method: route.key.method) { request, context in
            try await route.handler(request, context)
        }
    }
    return router
}

private func answer(_ bytes: some Sequence<UInt8>, type: String) -> Response {
    Response(
        status: .ok, headers: [.contentType: type, .cacheControl: "no-store"],
        body: ResponseBody(byteBuffer: ByteBuffer(bytes: bytes)))
}

private func agentRoutes(_ fleet: Fleet, _ limits: BodyLimits) -> [Route] {
    [
        Route(.get, Endpoints.ca, .anyone) { _, _ in fleet.caBundle },
        Route(.post, Endpoints.enroll, .anyone) { request, _ in
            try await fleet.enroll(try await request.decode(limit: limits.small))
        },
        Route(.post, Endpoints.checkin, .agent) { request, context in
            let agent = try context.agent
            let checkin = try await request.decode(CheckinRequest.self, limit: limits.small)
            return try await cancelWhenGracefulShutdown { try await fleet.checkin(checkin, from: agent) }
        },
        Route(.post, Endpoints.renew, .agent) { request, context in
            try await fleet.renew(try await request.decode(limit: limits.small), by: try context.agent)
        },
    ]
}

private func operatorRoutes(_ fleet: Fleet, _ limits: BodyLimits) -> [Route] {
    [
        Route(.post, Endpoints.apply, .operator(.operator)) { request, context in
            try await fleet.apply(try await request.decode(limit: limits.files), by: try context.operator)
        },
        Route(.post, Endpoints.diff, .operator(.viewer)) { request, context in
            try await fleet.diff(try await request.decode(limit: limits.files), by: try context.operator)
        },
        Route(.post, Endpoints.delete, .operator(.operator)) { request, context in
            let names = try await request.decode(DeleteRequest.self, limit: limits.small).names
            return try await fleet.delete(names, by: try context.operator)
        },
        Route(.get, Endpoints.policies, .operator(.viewer)) { _, _ in try await fleet.policies() },
        Route(.get, "\(Endpoints.policies)/{name}", .operator(.viewer)) { _, context in
            try await fleet.policy(try context.name("name"))
        },
        Route(.get, "\(Endpoints.policies)/{name}/revisions", .operator(.viewer)) { _, context in
            try await fleet.revisions(of: try context.name("name"))
        },
        Route(.post, "\(Endpoints.policies)/{name}/undo", .operator(.operator)) { request, context in
            let undo = try await request.decode(UndoRequest.self, limit: limits.small)
            return try await fleet.undo(
                try context.name("name"), to: undo.toRevision, by: try context.operator)
        },
        Route(.get, Endpoints.instances, .operator(.viewer)) { _, _ in try await fleet.instances() },
        Route(.get, "\(Endpoints.instances)/{id}", .operator(.viewer)) { _, context in
            try await fleet.instance(try context.name("id"))
        },
        Route(.delete, "\(Endpoints.instances)/{id}", .operator(.operator)) { _, context in
            try await fleet.forget(try context.name("id"), by: try context.operator)
        },
        Route(.post, "\(Endpoints.instances)/{id}/labels", .operator(.operator)) { request, context in
            try await fleet.label(
                try context.name("id"), try await request.decode(limit: limits.small),
                by: try context.operator)
        },
        Route(.post, "\(Endpoints.instances)/{id}/cordon", .operator(.operator)) { _, context in
            try await fleet.setCordoned(true, try context.name("id"), by: try context.operator)
        },
        Route(.post, "\(Endpoints.instances)/{id}/uncordon", .operator(.operator)) { _, context in
            try await fleet.setCordoned(false, try context.name("id"), by: try context.operator)
        },
        Route(.post, "\(Endpoints.instances)/{id}/retry", .operator(.operator)) { _, context in
            try await fleet.retry(try context.name("id"), by: try context.operator)
        },
        Route(.get, Endpoints.tokens, .operator(.viewer)) { _, _ in try await fleet.tokens() },
        Route(.post, Endpoints.tokens, .operator(.operator)) { request, context in
            try await fleet.createToken(try await request.decode(limit: limits.small), by: try context.operator)
        },
        Route(.delete, "\(Endpoints.tokens)/{id}", .operator(.operator)) { _, context in
            try await fleet.revokeToken(try context.name("id"), by: try context.operator)
        },
        Route(.get, Endpoints.events, .operator(.viewer)) { request, _ in
            try await fleet.events(try EventFilter(request.uri.queryParameters))
        },
    ]
}

extension EventFilter {
    /// - Throws: `FleetError` badRequest.
    init(_ query: Parameters) throws {
        self.init()
        if let text = query["limit"] {
            guard let limit = Int(text) else {
                throw FleetError(.badRequest, "'limit' is not a number", remedy: "ask for 1 to 1000 events")
            }
            self.limit = limit
        }
        if let text = query["since"] {
            guard let since = try? Date(String(text), strategy: .iso8601) else {
                throw FleetError(
                    .badRequest, "'since' is not a time", remedy: "write it as in 2030-01-31T12:00:00Z")
            }
            self.since = since
        }
        actor = query["actor"].map(String.init)
    }
}
