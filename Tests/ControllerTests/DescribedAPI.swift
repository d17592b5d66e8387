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
import NIOCore
import Synchronization
import Testing
import Yams

/// A router whose every exchange is held against its description.
final class DescribedAPI: Sendable {
    let test: TestFleet
    let client: any TestClientProtocol
    let document: JSONValue
    let schema: JSONSchema
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
        self.schema = JSONSchema(document: document)
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

    /// Calls an operation with all the parameters that its query may have.
    func query(_ name: String, _ values: [String: String]) async throws {
        let described = (operations[name]?["parameters"]?.array ?? []).filter { $0["in"]?.string == "query" }
        #expect(Set(described.compactMap { $0["name"]?.string }) == Set(values.keys), "\(name)")
        for parameter in described {
            let text = values[parameter["name"]?.string ?? ""] ?? ""
            let faults = schema.faults(
                Double(text).map(JSONValue.number) ?? .string(text), parameter["schema"] ?? .null)
            #expect(faults.isEmpty, "\(name): \(faults)")
        }
        let query = values.map { "\($0.key)=\($0.value)" }.joined(separator: "&")
        _ = try await good(name, nil, [:], query: query)
    }

    private func good(
        _ name: String, _ body: String?, _ values: [String: String], query: String? = nil
    ) async throws -> (Int, Data) {
        let (status, data) = try await send(name, body: body, as: .operator, values, query: query)
        #expect(status == 200, "\(name): \(String(decoding: data, as: UTF8.self))")
        called.withLock { _ = $0.insert(name) }
        return (status, data)
    }

    /// Sends anything; whatever comes back must be as described for its status.
    func send(
        _ name: String, body: String?, as role: OperatorRole?, _ values: [String: String] = [:], query: String? = nil
    ) async throws -> (Int, Data) {
        let words = name.split(separator: " ")
        let path = values.reduce(String(words[1])) { $0.replacing("{\($1.key)}", with: $1.value) }
        var headers = HTTPFields()
        if let role { headers[.authorization] = "Bearer \(role.rawValue)" }
        let response = try await client.execute(
            uri: path + (query.map { "?\($0)" } ?? ""), method: try #require(HTTPRequest.Method(String(words[0]))),
            headers: headers,
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
        return self.schema.faults(value, schema)
    }
}
