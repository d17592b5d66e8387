// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: natfleet contributors

package import FleetAPI
package import FleetModel
internal import Foundation
package import HTTPSClient

/// The controller over HTTPS: the one place that knows the operator API's paths.
package struct RemoteFleet: FleetClient {
    package typealias Exchange =
        @Sendable (HTTPSClient.Request) async throws(TransportError) -> HTTPSClient.Response

    private let configuration: ClientConfiguration
    private let exchange: Exchange

    package init(_ configuration: ClientConfiguration) {
        let http = HTTPSClient(
            HTTPSClient.Configuration(
                trust: .authorities(pem: configuration.ca),
                userAgent: "natfleet/\(NatfleetVersion.current)",
                maxResponseBytes: 256 << 20))
        self.init(configuration) { request throws(TransportError) in try await http.send(request) }
    }

    package init(_ configuration: ClientConfiguration, exchange: @escaping Exchange) {
        self.configuration = configuration
        self.exchange = exchange
    }

    package func apply(_ request: ApplyRequest) async throws -> ApplyResponse {
        try await call(.post, Endpoints.apply, request)
    }

    package func diff(_ request: DiffRequest) async throws -> DiffResponse {
        try await call(.post, Endpoints.diff, request)
    }

    package func delete(_ request: DeleteRequest) async throws -> ApplyResponse {
        try await call(.post, Endpoints.delete, request)
    }

    package func policies() async throws -> [PolicyView] { try await call(.get, Endpoints.policies) }

    package func policy(_ name: String) async throws -> PolicyView {
        try await call(.get, "\(Endpoints.policies)/\(segment(name))")
    }

    package func revisions(of policy: String) async throws -> [RevisionView] {
        try await call(.get, "\(Endpoints.policies)/\(segment(policy))/revisions")
    }

    package func undo(_ policy: String, _ request: UndoRequest) async throws -> PolicyChange {
        try await call(.post, "\(Endpoints.policies)/\(segment(policy))/undo", request)
    }

    package func instances() async throws -> [Instance] { try await call(.get, Endpoints.instances) }

    package func instance(_ id: String) async throws -> Instance {
        try await call(.get, "\(Endpoints.instances)/\(segment(id))")
    }

    package func label(_ id: String, _ request: LabelRequest) async throws -> LabelResponse {
        try await call(.post, "\(Endpoints.instances)/\(segment(id))/labels", request)
    }

    package func setCordoned(_ cordoned: Bool, _ id: String) async throws -> Instance {
        try await call(.post, "\(Endpoints.instances)/\(segment(id))/\(cordoned ? "cordon" : "uncordon")")
    }

    package func retry(_ id: String) async throws -> Instance {
        try await call(.post, "\(Endpoints.instances)/\(segment(id))/retry")
    }

    package func forget(_ id: String) async throws -> Instance {
        try await call(.delete, "\(Endpoints.instances)/\(segment(id))")
    }

    package func tokens() async throws -> [TokenView] { try await call(.get, Endpoints.tokens) }

    package func createToken(_ request: TokenRequest) async throws -> TokenView {
        try await call(.post, Endpoints.tokens, request)
    }

    package func revokeToken(_ id: String) async throws {
        _ = try await send(.delete, "\(Endpoints.tokens)/\(segment(id))", nil)
    }

    package func events(_ filter: EventFilter) async throws -> [Event] {
        var query = "limit=\(filter.limit)"
        if let since = filter.since { query += "&since=\(segment(since.formatted(.iso8601)))" }
        if let actor = filter.actor { query += "&actor=\(segment(actor))" }
        return try await call(.get, "\(Endpoints.events)?\(query)")
    }

    // MARK: One exchange

    private func call<Answer: Decodable>(
        _ method: HTTPSClient.Method, _ path: String, _ body: (any Encodable)? = nil
    ) async throws -> Answer {
        let answer = try await send(method, path, try body.map { try WireJSON.encode($0) })
        do {
            return try WireJSON.decode(from: Data(answer.body))
        } catch {
            throw FleetError(
                .internal, "\(configuration.server)\(path) answered something that this version does not understand",
                remedy: "use the natfleet of the controller's version")
        }
    }

    private func send(_ method: HTTPSClient.Method, _ path: String, _ body: Data?) async throws -> HTTPSClient.Response
    {
        var headers = [("Authorization", "Bearer \(configuration.token)"), ("Accept", "application/json")]
        if body != nil { headers.append(("Content-Type", "application/json")) }
        let request = HTTPSClient.Request(
            method, url: configuration.server + path, headers: headers.map { (name: $0.0, value: $0.1) },
            body: body.map { Array($0) })
        let response: HTTPSClient.Response
        do throws(TransportError) {
            response = try await exchange(request)
        } catch {
            throw FleetError(error, server: configuration.server)
        }
        guard (200..<300).contains(response.status) else { throw failure(response) }
        return response
    }

    private func failure(_ response: HTTPSClient.Response) -> Failure {
        guard let problem = try? WireJSON.decode(Problem.self, from: Data(response.body)) else {
            return Failure(
                FleetError(
                    .internal, "\(configuration.server) answered \(response.status) without a reason",
                    remedy: "check that server in the client configuration is a natfleet controller"))
        }
        return Failure(problem.error, diagnostics: problem.diagnostics ?? [])
    }

    /// A name as one segment of a path, whatever was typed.
    private func segment(_ name: String) -> String {
        let plain = CharacterSet(charactersIn: "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._~")
        return name.addingPercentEncoding(withAllowedCharacters: plain) ?? ""
    }
}
