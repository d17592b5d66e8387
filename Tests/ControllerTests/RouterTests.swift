// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: natfleet contributors

import ControllerCore
import ControllerHTTP
import ControllerPKI
import FleetAPI
import FleetModel
import Foundation
import HTTPTypes
import Hummingbird
import HummingbirdTesting
import NATPolicy
import NIOCore
import Testing

/// The API over the router, without TLS: who may call what, and what comes back when something is wrong.
struct RouterTests {
    /// Runs a test with a router whose every agent call shows `certificate`.
    private func with(
        certificate: [UInt8]? = nil, limits: BodyLimits = BodyLimits(),
        _ body: @Sendable (TestFleet, any TestClientProtocol, _ tokens: [OperatorRole: String]) async throws -> Void
    ) async throws {
        try await TestFleet.with { test in
            var tokens: [OperatorRole: String] = [:]
            for role in OperatorRole.allCases {
                tokens[role] = "secret-\(role.rawValue)"
                try await test.fleet.addOperator("test-\(role.rawValue)", role: role, secret: "secret-\(role.rawValue)")
            }
            let made = tokens
            let app = Application(
                router: fleetRouter(test.fleet, limits: limits, peerCertificate: { _ in certificate }), logger: silent)
            try await app.test(.router) { try await body(test, $0, made) }
        }
    }

    struct Wrong: Sendable, CustomTestStringConvertible {
        let method: HTTPRequest.Method
        let path: String
        var body: String?
        var token: String?
        let status: Int
        let code: ErrorCode
        /// Part of the detail.
        let detail: String

        init(
            _ method: HTTPRequest.Method, _ path: String, _ body: String? = nil, as token: String? = nil,
            gives status: Int,
            _ code: ErrorCode, _ detail: String
        ) {
            self.method = method
            self.path = path
            self.body = body
            self.token = token
            self.status = status
            self.code = code
            self.detail = detail
        }

        var testDescription: String { "\(method.rawValue) \(path) \(body?.prefix(40) ?? "") \(token ?? "")" }
    }

    static let wrong: [Wrong] = [
        Wrong(.get, "/", gives: 404, .notFound, "nothing at this path"),
        Wrong(.get, "/v1", gives: 404, .notFound, "nothing at this path"),
        Wrong(.post, "/v2/enroll", "{}", gives: 404, .notFound, "nothing at this path"),
        Wrong(.get, "/v1/policies/a/b/c", gives: 404, .notFound, "nothing at this path"),
        Wrong(.get, "/v1/enroll", gives: 405, .methodNotAllowed, "GET is not for this path"),
        Wrong(.put, "/v1/policies/web", "{}", gives: 405, .methodNotAllowed, "PUT is not for this path"),
        Wrong(.delete, "/v1/tokens", gives: 405, .methodNotAllowed, "DELETE is not for this path"),
        Wrong(.post, "/v1/enroll", "{\"csr\": \"x", gives: 400, .badRequest, "not valid JSON"),
        Wrong(.post, "/v1/enroll", "", gives: 400, .badRequest, "not valid JSON"),
        Wrong(
            .post, "/v1/enroll", "{\"joinToken\": \"x\", \"labels\": {}}", gives: 400, .badRequest, "'csr' is missing"),
        Wrong(
            .post, "/v1/enroll", "{\"csr\": 5, \"joinToken\": \"x\", \"labels\": {}}", gives: 400, .badRequest,
            "'csr' is not of type String"),
        Wrong(
            .post, "/v1/enroll", "{\"csr\": \"x\", \"joinToken\": \"x\", \"labels\": {\"a\": 1}}", gives: 400,
            .badRequest,
            "'labels.a' is not of type String"),
        Wrong(
            .post, "/v1/enroll", "{\"csr\": \"x\", \"joinToken\": \"x\", \"labels\": {}}", gives: 401, .unauthorized,
            "join token is not known"),
        Wrong(.post, "/v1/checkin", "{}", gives: 401, .unauthorized, "no client certificate"),
        Wrong(.post, "/v1/checkin", "{}", as: "admin", gives: 401, .unauthorized, "no client certificate"),
        Wrong(.post, "/v1/renew", "{}", gives: 401, .unauthorized, "no client certificate"),
        Wrong(.get, "/v1/policies", gives: 401, .unauthorized, "no operator token"),
        Wrong(.get, "/v1/policies", as: "wrong", gives: 401, .unauthorized, "operator token is not known"),
        Wrong(.post, "/v1/apply", "{}", gives: 401, .unauthorized, "no operator token"),
        Wrong(.post, "/v1/apply", "{\"files\": []}", as: "viewer", gives: 403, .forbidden, "needs operator"),
        Wrong(.post, "/v1/delete", "{\"names\": [\"a\"]}", as: "viewer", gives: 403, .forbidden, "needs operator"),
        Wrong(.post, "/v1/policies/web/undo", "{}", as: "viewer", gives: 403, .forbidden, "needs operator"),
        Wrong(.post, "/v1/tokens", "{}", as: "viewer", gives: 403, .forbidden, "needs operator"),
        Wrong(.delete, "/v1/tokens/x", as: "viewer", gives: 403, .forbidden, "needs operator"),
        Wrong(
            .post, "/v1/apply", "{\"files\": [{\"name\": \"a\"}]}", as: "admin", gives: 400, .badRequest,
            "'files.[0].text'"),
        Wrong(.post, "/v1/delete", "{\"names\": [\"web\"]}", as: "admin", gives: 404, .notFound, "no policy 'web'"),
        Wrong(.post, "/v1/policies/web/undo", "{}", as: "admin", gives: 404, .notFound, "no policy 'web'"),
        Wrong(.get, "/v1/policies/web", as: "viewer", gives: 404, .notFound, "no policy 'web'"),
        Wrong(.get, "/v1/policies/web/revisions", as: "viewer", gives: 404, .notFound, "no policy 'web'"),
        Wrong(.get, "/v1/instances/i-1", as: "viewer", gives: 404, .notFound, "no instance 'i-1'"),
        Wrong(.delete, "/v1/tokens/x", as: "admin", gives: 404, .notFound, "no join token 'x'"),
        Wrong(.get, "/v1/events?limit=0", as: "viewer", gives: 400, .badRequest, "limit of 0"),
        Wrong(.get, "/v1/events?limit=1001", as: "viewer", gives: 400, .badRequest, "limit of 1001"),
        Wrong(.get, "/v1/events?limit=many", as: "viewer", gives: 400, .badRequest, "'limit' is not a number"),
    ]

    @Test(arguments: wrong)
    func whatIsWrongIsAProblemDocument(_ row: Wrong) async throws {
        try await with { _, client, _ in
            var headers = HTTPFields()
            if let token = row.token { headers[.authorization] = "Bearer secret-\(token)" }
            let response = try await client.execute(
                uri: row.path, method: row.method, headers: headers, body: row.body.map(ByteBuffer.init(string:)))
            #expect(response.status.code == row.status)
            #expect(response.headers[.contentType] == "application/problem+json")
            let problem = try WireJSON.decode(Problem.self, from: Data(response.body.readableBytesView))
            #expect(problem.status == row.status)
            #expect(problem.code == row.code)
            #expect(problem.type == "/errors#\(row.code.rawValue)")
            #expect(problem.detail.contains(row.detail), "\(problem.detail)")
            #expect(problem.remedy != nil)
        }
    }

    @Test(arguments: [
        ("/v1/enroll", "POST"), ("/v1/policies/web", "GET"), ("/v1/tokens", "GET, POST"), ("/v1/tokens/x", "DELETE"),
    ])
    func aWrongMethodIsToldTheRightOnes(path: String, allowed: String) async throws {
        try await with { _, client, _ in
            let response = try await client.execute(uri: path, method: .patch)
            #expect(response.status == .methodNotAllowed)
            #expect(response.headers[.allow] == allowed)
        }
    }

    @Test func faultsOfPoliciesComeWithTheirPlaces() async throws {
        try await with { _, client, _ in
            let files = [PolicyFile(name: "web.yaml", text: policy("web", source: "10.0.0.1/16"))]
            let (status, body) = try await post(client, Endpoints.apply, ApplyRequest(files: files))
            #expect(status == 422)
            let problem = try WireJSON.decode(Problem.self, from: body)
            #expect(problem.code == .invalidPolicy)
            let fault = try #require(problem.diagnostics?.first)
            #expect(fault.file == "web.yaml" && fault.line > 0 && fault.column > 0)
        }
    }

    @Test func aConflictOfLayersIs409() async throws {
        try await with { test, client, _ in
            try await test.enroll("i-1", labels: ["vpc": "prod"])
            let texts = [policy("a", ports: [8001]), policy("b", ports: [8001])]
            let files = texts.map { PolicyFile(name: "-", text: $0) }
            let (status, body) = try await post(client, Endpoints.apply, ApplyRequest(files: files))
            #expect(status == 409)
            #expect(try WireJSON.decode(Problem.self, from: body).code == .layerConflict)
        }
    }

    @Test func operatorsSeeAndChangeTheFleet() async throws {
        try await with { test, client, _ in
            try await test.enroll("i-1", labels: ["vpc": "prod"])
            let files = [PolicyFile(name: "web.yaml", text: policy("web"))]
            let (status, body) = try await post(client, Endpoints.apply, ApplyRequest(files: files, message: "first"))
            #expect(status == 200)
            #expect(
                try WireJSON.decode(ApplyResponse.self, from: body).policies
                    == [PolicyChange(name: "web", action: .created, revision: 1, instances: ["i-1"])])
            let policies: [PolicyView] = try await get(client, Endpoints.policies)
            #expect(policies.map(\.name) == ["web"])
            let one: PolicyView = try await get(client, "\(Endpoints.policies)/web")
            #expect(one == policies.first)
            let revisions: [RevisionView] = try await get(client, "\(Endpoints.policies)/web/revisions")
            #expect(revisions.map(\.message) == ["first"])
            let instances: [Instance] = try await get(client, Endpoints.instances)
            let instance: Instance = try await get(client, "\(Endpoints.instances)/i-1")
            #expect(instances == [instance])
            let (made, token) = try await post(client, Endpoints.tokens, TokenRequest(instanceID: "i-2"))
            #expect(made == 200)
            let view = try WireJSON.decode(TokenView.self, from: token)
            #expect(view.secret != nil)
            let tokens: [TokenView] = try await get(client, Endpoints.tokens)
            #expect(tokens.count == 2 && tokens.allSatisfy { $0.secret == nil })
            let response = try await client.execute(
                uri: "\(Endpoints.tokens)/\(view.id)", method: .delete,
                headers: [.authorization: "Bearer secret-operator"])
            #expect(try WireJSON.decode(TokenView.self, from: Data(response.body.readableBytesView)).revoked)
            let events: [Event] = try await get(client, "\(Endpoints.events)?limit=2")
            #expect(events.map(\.kind) == ["token.revoked", "token.created"])
            #expect(events.first?.actor == "operator:test-operator")
            let (deleted, _) = try await post(client, Endpoints.delete, DeleteRequest(names: ["web"]))
            #expect(deleted == 200)
        }
    }

    @Test func anyoneGetsTheAuthorityAndAJoinTokenGetsACertificate() async throws {
        try await with { test, client, _ in
            let ca = try await client.execute(uri: Endpoints.ca, method: .get)
            #expect(
                try WireJSON.decode(CABundle.self, from: Data(ca.body.readableBytesView)).certificates
                    == test.authority.bundle)
            let request = EnrollRequest(csr: try AgentKey().csr(), joinToken: try await test.token(for: "i-1"))
            let (status, body) = try await post(client, Endpoints.enroll, request, token: nil)
            #expect(status == 200)
            let issued = try WireJSON.decode(IssuedIdentity.self, from: body)
            #expect(issued.instanceID == "i-1")
            #expect(issued.ca == test.authority.bundle)
            #expect(try await test.fleet.authenticate(certificate: try der(issued.certificate)).instance == "i-1")
        }
    }

    @Test(
        arguments: [
            (Endpoints.enroll, nil, 2000), (Endpoints.apply, "admin", 5000), (Endpoints.delete, "admin", 2000),
        ] as [(String, String?, Int)])
    func aBodyOverTheLimitIs413(path: String, token: String?, size: Int) async throws {
        let limits = BodyLimits(
            small: BodyLimit(bytes: 1000, time: .seconds(10)), files: BodyLimit(bytes: 4000, time: .seconds(10)))
        try await with(limits: limits) { _, client, _ in
            var headers = HTTPFields()
            if let token { headers[.authorization] = "Bearer secret-\(token)" }
            let response = try await client.execute(
                uri: path, method: .post, headers: headers, body: ByteBuffer(repeating: 0x20, count: size))
            #expect(response.status == .contentTooLarge)
            let problem = try WireJSON.decode(Problem.self, from: Data(response.body.readableBytesView))
            #expect(problem.code == .bodyTooLarge)
        }
    }

    private func post(
        _ client: any TestClientProtocol, _ path: String, _ body: some Encodable, token: String? = "secret-operator"
    ) async throws -> (Int, Data) {
        var headers = HTTPFields()
        if let token { headers[.authorization] = "Bearer \(token)" }
        let response = try await client.execute(
            uri: path, method: .post, headers: headers, body: ByteBuffer(bytes: try WireJSON.encode(body)))
        return (response.status.code, Data(response.body.readableBytesView))
    }

    private func get<Value: Decodable>(_ client: any TestClientProtocol, _ path: String) async throws -> Value {
        let response = try await client.execute(
            uri: path, method: .get, headers: [.authorization: "Bearer secret-viewer"])
        #expect(response.status == .ok)
        return try WireJSON.decode(from: Data(response.body.readableBytesView))
    }
}
