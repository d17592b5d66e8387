// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: natfleet contributors

import ControllerCore
import FleetAPI
package import FleetModel
import HTTPTypes
import Hummingbird
import Logging
import NIOCore

/// Turns everything that is thrown below it, and what the router finds missing, into RFC 9457 problem documents.
struct Problems: RouterMiddleware {
    let routes: [RouteKey]

    func handle(
        _ request: Request, context: FleetContext, next: (Request, FleetContext) async throws -> Response
    ) async throws -> Response {
        do {
            return try await next(request, context)
        } catch let faults as PolicyFaults {
            return try respond(
                Problem(faults.error, status: 422, diagnostics: faults.diagnostics), to: request, context)
        } catch let error as FleetError {
            return try respond(Problem(error, status: error.code.httpStatus), to: request, context)
        } catch let error as HTTPError where error.status == .notFound {
            return try missing(request, context)
        } catch let error as any HTTPResponseError {
            let problem = FleetError(
                .badRequest, "the request is not understood: \(error)",
                remedy: "send what /openapi.yaml says of this path")
            return try respond(Problem(problem, status: error.status.code), to: request, context)
        } catch {
            context.logger.error("request failed", metadata: ["path": "\(request.uri.path)", "error": "\(error)"])
            let hidden = FleetError(.internal, "the controller failed", remedy: "read its log")
            return try respond(Problem(hidden, status: 500), to: request, context)
        }
    }

    /// 405 with `Allow` where another method would do, else 404.
    private func missing(_ request: Request, _ context: FleetContext) throws -> Response {
        let path = request.uri.path
        let allowed = routes.filter { matches($0.path, path) }.map(\.method.rawValue).sorted()
        guard !allowed.isEmpty else {
            let error = FleetError(.notFound, "there is nothing at this path", remedy: "see docs/api.md for the paths")
            return try respond(Problem(error, status: 404), to: request, context)
        }
        let error = FleetError(
            .methodNotAllowed, "\(request.method.rawValue) is not for this path",
            remedy: "use \(allowed.joined(separator: " or "))")
        var response = try respond(Problem(error, status: 405), to: request, context)
        response.headers[.allow] = allowed.joined(separator: ", ")
        return response
    }

    private func matches(_ pattern: String, _ path: String) -> Bool {
        let (left, right) = (pattern.split(separator: "/"), path.split(separator: "/"))
        guard left.count == right.count else { return false }
        return zip(left, right).allSatisfy { $0 == $1 || $0.hasPrefix("{") }
    }

    private func respond(_ problem: Problem, to request: Request, _ context: FleetContext) throws -> Response {
        var headers: HTTPFields = [.contentType: Problem.contentType, .cacheControl: "no-store"]
        if problem.status == 401 { headers[.wwwAuthenticate] = "Bearer" }
        if problem.status == 503 { headers[.retryAfter] = "5" }
        if [401, 408, 413].contains(problem.status), request.method != .get {
            // The rest of the body is unread: a peer that goes on sending it is cut off.
            headers[.connection] = "close"
            let channel = context.channel
            channel.eventLoop.scheduleTask(in: .seconds(1)) { channel.close(promise: nil) }
        }
        return Response(
            status: HTTPResponse.Status(code: problem.status), headers: headers,
            body: ResponseBody(byteBuffer: ByteBuffer(bytes: try WireJSON.encode(problem))))
    }
}

extension ErrorCode {
    /// The one place that knows HTTP's names for what went wrong; docs/errors.md repeats them.
    package var httpStatus: Int {
        switch self {
        case .badRequest: 400
        case .unauthorized: 401
        case .forbidden: 403
        case .notFound: 404
        case .methodNotAllowed: 405
        case .bodyTimeout: 408
        case .conflict, .layerConflict: 409
        case .bodyTooLarge: 413
        case .invalidPolicy: 422
        case .internal: 500
        case .unsupported: 501
        case .unavailable: 503
        case .unreachable: 502
        case .timeout: 504
        }
    }
}
