// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: natfleet contributors

import ControllerCore
import ControllerHTTP
import FleetAPI
import FleetModel
import Foundation
import HTTPTypes
import Hummingbird
import NATPolicy
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

    /// A fleet's life, in which every operation is called, and answers once well and once badly. Everything that is described
    /// occurs in it.
    @Test func whatTheControllerAnswersIsAsDescribed() async throws {
        try await DescribedAPI.with { api in
            let rich = DescribedAPI.everyField.file
            try await api.enrol("i-1", labels: ["vpc": "prod"])
            try await api.call("POST /v1/diff", DiffRequest(files: [rich]))
            try await api.call("POST /v1/apply", ApplyRequest(files: [rich], message: "first", expectRevision: 0))
            try await api.call("POST /v1/apply", ApplyRequest(files: [DescribedAPI.leftToTheHost.file]))
            try await api.checkInAsEver()
            try await api.call("POST /v1/instances/{id}/cordon", ["id": "i-1"])
            let changed = ApplyRequest(files: [DescribedAPI.everyField.replacing("9100", with: "9200").file])
            try await api.call("POST /v1/diff", DiffRequest(files: changed.files))
            try await api.call("POST /v1/apply", changed)
            try await api.call("POST /v1/instances/{id}/uncordon", ["id": "i-1"])
            try await api.call("GET /v1/policies/{name}", ["name": "rich"])
            try await api.call("POST /v1/diff", DiffRequest(files: [rich]))
            try await api.call("POST /v1/policies/{name}/undo", UndoRequest(toRevision: 1), ["name": "rich"])
            try await api.call(
                "POST /v1/instances/{id}/labels", LabelRequest(set: ["vpc": "lab"], remove: ["x"]), ["id": "i-1"])
            for name in ["/openapi.yaml", "/v1/ca", "/v1/policies", "/v1/instances", "/v1/tokens", "/v1/events"] {
                try await api.call("GET \(name)")
            }
            try await api.query(
                "GET /v1/events", ["limit": "2", "since": "2020-01-31T12:00:00Z", "actor": "instance:i-1"])
            try await api.call("GET /v1/policies/{name}/revisions", ["name": "rich"])
            try await api.call("GET /v1/instances/{id}", ["id": "i-1"])
            try await api.call("POST /v1/renew", RenewRequest(csr: try AgentKey().csr()))
            try await api.comeIntoAConflict()
            try await api.call("POST /v1/delete", DeleteRequest(names: ["rich"]))
            try await api.call("DELETE /v1/instances/{id}", ["id": "i-1"])
            let tokens = try await api.test.fleet.tokens()
            try await api.call("DELETE /v1/tokens/{id}", ["id": try #require(tokens.first?.id)])
            #expect(api.called.withLock { $0 } == Set(api.operations.keys))

            for name in api.operations.keys where name != "GET /openapi.yaml" && name != "GET /v1/ca" {
                let (status, _) = try await api.send(name, body: "[]", as: nil)
                #expect((400..<500).contains(status), "\(name)")
            }
            for wrong in ["limit=0", "limit=1001", "limit=x", "since=yesterday"] {
                #expect(try await api.send("GET /v1/events", body: nil, as: .viewer, query: wrong).0 == 400, "\(wrong)")
            }
            let wrong = ApplyRequest(files: [policy("web", source: "10.0.0.1/16").file])
            let body = String(decoding: try WireJSON.encode(wrong), as: UTF8.self)
            #expect(try await api.send("POST /v1/apply", body: body, as: .operator).0 == 422)
            let unseen = Set(api.schema.parts).subtracting(api.schema.seen.all).sorted()
            #expect(unseen.isEmpty, "described, and in no request or answer:\n\(unseen.joined(separator: "\n"))")
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
