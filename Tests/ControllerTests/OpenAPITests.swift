// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: natfleet contributors

import ControllerCore
import ControllerHTTP
import FleetAPI
import FleetModel
import Foundation
import HTTPTypes
import Hummingbird
import HummingbirdTesting
import NATPolicy
import NIOCore
import Synchronization
import Testing
import Yams

/// The API's description, as it is served, beside the API.
struct OpenAPITests {
    @Test func itDescribesTheRoutersOperationsAndNoOthers() async throws {
        try await DescribedAPI.with { api in
            let routes = fleetRouter(api.test.fleet, peerCertificate: { _ in nil }).routes
            #expect(Set(routes.map { "\($0.method.rawValue) \($0.path.description)" }) == Set(api.operations.keys))
            #expect(api.operations.count >= 22)
        }
    }

    @Test func everyOperationIsNamedAndSaysWhoMayCallIt() async throws {
        try await DescribedAPI.with { api in
            let names = api.operations.values.compactMap { $0["operationId"]?.string }
            #expect(Set(names).count == api.operations.count)
            for (name, operation) in api.operations {
                #expect(operation["summary"]?.string != nil, "\(name)")
                #expect(operation["responses"]?["default"] != nil, "\(name)")
                #expect((operation["x-role"] == nil) == (operation["security"] != nil), "\(name)")
            }
        }
    }

    @Test func itsRolesAreTheOnesThatTheGateAsksFor() async throws {
        try await DescribedAPI.with { api in
            for (name, operation) in api.operations {
                let least = operation["x-role"]?.string.flatMap(OperatorRole.init(rawValue:))
                for role in OperatorRole.allCases.map(Optional.init) + [nil] {
                    let (status, _) = try await api.send(name, body: "[]", as: role)
                    let isIn = ![401, 403].contains(status)
                    if let least {
                        #expect(isIn == role.map { $0 >= least } ?? false, "\(name) as \(role?.rawValue ?? "nobody")")
                    } else {
                        #expect(isIn == (operation["security"]?.array == []), "\(name)")
                    }
                }
            }
        }
    }

    @Test func itKnowsAllErrors() async throws {
        try await DescribedAPI.with { api in
            let codes = api.document["components"]?["schemas"]?["Problem"]?["properties"]?["code"]?["enum"]?.strings
            #expect(codes == ErrorCode.allCases.map(\.rawValue))
        }
    }

    /// A fleet's life, in which every operation is called, and answers once well and once badly.
    @Test func whatTheControllerAnswersIsAsDescribed() async throws {
        try await DescribedAPI.with { api in
            let text = policy("web", ports: [8001])
            let files = [PolicyFile(name: "web.yaml", text: text)]
            let (_, token) = try await api.call(
                "POST /v1/tokens", TokenRequest(instanceID: "i-1", labels: ["vpc": "prod"]))
            let secret = try WireJSON.decode(TokenView.self, from: token).secret ?? ""
            let (_, enrolled) = try await api.call(
                "POST /v1/enroll", EnrollRequest(csr: try AgentKey().csr(), joinToken: secret, labels: ["role": "nat"]))
            let identity = try WireJSON.decode(IssuedIdentity.self, from: enrolled)
            api.certificate.withLock { $0 = try? der(identity.certificate) }
            try await api.call("POST /v1/diff", DiffRequest(files: files))
            try await api.call("POST /v1/apply", ApplyRequest(files: files, message: "first", expectRevision: 0))
            let (_, checkin) = try await api.call(
                "POST /v1/checkin", CheckinRequest(status: DescribedAPI.status, wait: 0))
            let desired = try #require(try WireJSON.decode(CheckinResponse.self, from: checkin).desired)
            var running = InstanceStatus.running(desired, conditions: [Condition(.factsLost, "eth1 is gone")])
            running.facts = DescribedAPI.facts
            let refused = Outcome(hash: desired.hash, result: .refused, detail: "x", at: Date())
            try await api.call(
                "POST /v1/checkin", CheckinRequest(status: DescribedAPI.status, outcome: refused, wait: 0))
            try await api.call("POST /v1/instances/{id}/retry", ["id": "i-1"])
            let again = CheckinRequest(
                status: DescribedAPI.status, answeredHash: desired.hash, answeredAttempt: 0, wait: 50)
            let (_, retry) = try await api.call("POST /v1/checkin", again)
            #expect(try WireJSON.decode(CheckinResponse.self, from: retry).desired?.attempt != nil)
            let outcome = Outcome(hash: desired.hash, result: .applied, detail: "x", at: Date())
            try await api.call(
                "POST /v1/checkin",
                CheckinRequest(status: running, outcome: outcome, answeredHash: desired.hash, wait: 50))
            let changed = [PolicyFile(name: "web.yaml", text: policy("web", source: "10.7.0.0/16"))]
            try await api.call("POST /v1/diff", DiffRequest(files: changed))
            try await api.call("POST /v1/apply", ApplyRequest(files: changed))
            try await api.call("POST /v1/policies/{name}/undo", UndoRequest(), ["name": "web"])
            try await api.call("POST /v1/instances/{id}/labels", LabelRequest(set: ["a": "b"]), ["id": "i-1"])
            try await api.call("POST /v1/instances/{id}/cordon", ["id": "i-1"])
            try await api.call("POST /v1/instances/{id}/uncordon", ["id": "i-1"])
            for name in ["/openapi.yaml", "/v1/ca", "/v1/policies", "/v1/instances", "/v1/tokens", "/v1/events"] {
                try await api.call("GET \(name)")
            }
            try await api.call("GET /v1/policies/{name}", ["name": "web"])
            try await api.call("GET /v1/policies/{name}/revisions", ["name": "web"])
            try await api.call("GET /v1/instances/{id}", ["id": "i-1"])
            try await api.call("POST /v1/renew", RenewRequest(csr: try AgentKey().csr()))
            try await api.call("POST /v1/delete", DeleteRequest(names: ["web"]))
            try await api.call("DELETE /v1/instances/{id}", ["id": "i-1"])
            let tokens = try await api.test.fleet.tokens()
            try await api.call("DELETE /v1/tokens/{id}", ["id": try #require(tokens.first?.id)])
            #expect(api.called.withLock { $0 } == Set(api.operations.keys))

            for name in api.operations.keys where name != "GET /openapi.yaml" && name != "GET /v1/ca" {
                let (status, _) = try await api.send(name, body: "[]", as: nil)
                #expect((400..<500).contains(status), "\(name)")
            }
            let wrong = ApplyRequest(files: [PolicyFile(name: "x", text: policy("web", source: "10.0.0.1/16"))])
            let body = String(decoding: try WireJSON.encode(wrong), as: UTF8.self)
            #expect(try await api.send("POST /v1/apply", body: body, as: .operator).0 == 422)
        }
    }

    @Test(arguments: [
        ("{a: 1}", true), ("{a: 1, b: [x, y]}", true), ("{}", false), ("{a: 1.5}", false), ("{a: 0}", false),
        ("{a: 10}", false), ("{a: x}", false), ("{a: 1, c: 1}", false), ("{a: 1, b: []}", false),
        ("{a: 1, b: [z]}", false), ("{a: 1, b: [x, 1]}", false), ("{a: 1, d: 2030-01-31T12:00:00Z}", true),
        ("{a: 1, d: yesterday}", false), ("{a: 1, e: {x: ab}}", true), ("{a: 1, e: {x: ac}}", false), ("[]", false),
        ("{a: 1, f: [x]}", true), ("{a: 1, f: x}", true), ("{a: 1, f: 1}", false), ("{a: 1, g: toolong}", false),
        ("{a: null}", false), ("{a: 1, h: 1}", false),
    ])
    func theValidatorBites(text: String, isGood: Bool) throws {
        let schema = try YAMLDecoder().decode(
            JSONValue.self,
            from: """
                type: object
                required: [a]
                properties:
                  a: {$ref: "#/s/Small"}
                  b: {type: array, minItems: 1, items: {enum: [x, y]}}
                  d: {type: string, format: date-time}
                  e: {type: object, additionalProperties: {type: string, pattern: "^ab$"}}
                  f: {oneOf: [{type: string}, {type: array, items: {type: string}}]}
                  g: {type: string, maxLength: 6}
                  h: {type: integer, multipleOf: 1}
                s: {Small: {type: integer, minimum: 1, maximum: 9}}
                """)
        var root = schema.object
        root["s"] = nil
        let value = try YAMLDecoder().decode(JSONValue.self, from: text)
        let faults = JSONSchema(document: schema).faults(value, .object(root))
        #expect(faults.isEmpty == isGood, "\(faults)")
    }
}

/// A router whose every exchange is held against its description.
private final class DescribedAPI: Sendable {
    static let status = InstanceStatus(phase: .idle, agentVersion: "test")
    static let facts = HostFacts(
        interfaces: [], routes: [], iptables: .init(backend: .nft, version: "1.8.9"))

    let test: TestFleet
    let client: any TestClientProtocol
    let document: JSONValue
    /// By method and path.
    let operations: [String: JSONValue]
    let certificate: Mutex<[UInt8]?>
    let called = Mutex<Set<String>>([])

    private init(
        _ test: TestFleet, _ client: any TestClientProtocol, _ document: JSONValue, _ certificate: [UInt8]?
    ) {
        self.test = test
        self.client = client
        self.document = document
        self.certificate = Mutex(certificate)
        let methods = ["get", "post", "put", "patch", "delete", "head", "options"]
        let pairs = (document["paths"]?.object ?? [:]).flatMap { path, item in
            methods.compactMap { method in item[method].map { ("\(method.uppercased()) \(path)", $0) } }
        }
        operations = Dictionary(uniqueKeysWithValues: pairs)
    }

    static func with(_ body: @Sendable (DescribedAPI) async throws -> Void) async throws {
        try await TestFleet.with { test in
            for role in OperatorRole.allCases {
                try await test.fleet.addOperator(role.rawValue, role: role, secret: role.rawValue)
            }
            let shown = Shown()
            let app = Application(
                router: fleetRouter(
                    test.fleet, peerCertificate: { _ in shown.api.withLock { $0 }?.certificate.withLock { $0 } }),
                logger: silent)
            try await app.test(.router) { client in
                let served = try await client.execute(uri: Endpoints.openAPI, method: .get)
                #expect(served.headers[.contentType] == "application/yaml")
                let document = try YAMLDecoder().decode(JSONValue.self, from: String(buffer: served.body))
                let api = DescribedAPI(test, client, document, nil)
                shown.api.withLock { $0 = api }
                try await body(api)
            }
        }
    }

    private final class Shown: Sendable {
        let api = Mutex<DescribedAPI?>(nil)
    }

    /// Calls an operation with a good body; the answer must be a good one.
    @discardableResult
    func call(_ name: String, _ body: some Encodable, _ values: [String: String] = [:]) async throws -> (Int, Data) {
        let data = try WireJSON.encode(body)
        let schema = operations[name]?["requestBody"]?["content"]?["application/json"]?["schema"]
        let faults = check(data, try #require(schema, "\(name) takes no body"))
        #expect(faults.isEmpty, "\(name): \(faults)")
        return try await good(name, String(decoding: data, as: UTF8.self), values)
    }

    @discardableResult
    func call(_ name: String, _ values: [String: String] = [:]) async throws -> (Int, Data) {
        #expect(operations[name]?["requestBody"] == nil, "\(name)")
        return try await good(name, nil, values)
    }

    private func good(_ name: String, _ body: String?, _ values: [String: String]) async throws -> (Int, Data) {
        let (status, data) = try await send(name, body: body, as: .operator, values)
        #expect(status == 200, "\(name): \(String(decoding: data, as: UTF8.self))")
        called.withLock { _ = $0.insert(name) }
        return (status, data)
    }

    /// Sends anything; whatever comes back must be as described for its status.
    func send(
        _ name: String, body: String?, as role: OperatorRole?, _ values: [String: String] = [:]
    ) async throws -> (Int, Data) {
        let words = name.split(separator: " ")
        let path = values.reduce(String(words[1])) { $0.replacing("{\($1.key)}", with: $1.value) }
        var headers = HTTPFields()
        if let role { headers[.authorization] = "Bearer \(role.rawValue)" }
        let response = try await client.execute(
            uri: path, method: try #require(HTTPRequest.Method(String(words[0]))), headers: headers,
            body: body.map(ByteBuffer.init(string:)))
        let data = Data(response.body.readableBytesView)
        let type = response.headers[.contentType] ?? ""
        let answers = operations[name]?["responses"]
        var answer = answers?["\(response.status.code)"] ?? answers?["default"] ?? .null
        if let reference = answer["$ref"]?.string {
            #expect(reference == "#/components/responses/Problem")
            answer = document["components"]?["responses"]?["Problem"] ?? .null
        }
        let schema = try #require(answer["content"]?[type]?["schema"], "\(name): \(response.status) \(type)")
        guard type != "application/yaml" else { return (response.status.code, data) }
        let faults = check(data, schema)
        #expect(faults.isEmpty, "\(name) \(response.status.code): \(faults)")
        return (response.status.code, data)
    }

    private func check(_ data: Data, _ schema: JSONValue) -> [String] {
        guard let value = try? JSONDecoder().decode(JSONValue.self, from: data) else { return ["no JSON"] }
        return JSONSchema(document: document).faults(value, schema)
    }
}
