// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: natfleet contributors

import ControllerCLI
import FleetAPI
import FleetModel
import Foundation
import HTTPSClient
import NATPolicy
import Synchronization
import Testing

/// The wire: what is asked, and what becomes of the answers.
struct RemoteFleetTests {
    private static let configuration = ClientConfiguration(server: "https://c:8443", ca: "", token: "nfo_s")

    /// A fleet whose exchanges all get `answer`; requests are kept.
    private final class Wire: Sendable {
        let requests = Mutex<[HTTPSClient.Request]>([])
        private let answer: Result<HTTPSClient.Response, TransportError>

        init(_ answer: Result<HTTPSClient.Response, TransportError>) { self.answer = answer }

        convenience init(_ status: Int, _ body: String) {
            self.init(.success(HTTPSClient.Response(status: status, body: Array(body.utf8))))
        }

        var fleet: RemoteFleet {
            RemoteFleet(RemoteFleetTests.configuration) { [self] request throws(TransportError) in
                requests.withLock { $0.append(request) }
                return try answer.get()
            }
        }
    }

    @Test func asksAtTheRightPlaces() async throws {
        let wire = Wire(200, "[]")
        let fleet = wire.fleet
        _ = try await fleet.policies()
        _ = try await fleet.instances()
        _ = try await fleet.tokens()
        _ = try await fleet.events(EventFilter(limit: 7))
        _ = try await fleet.events(EventFilter(limit: 8, since: now, actor: "operator:a&b"))
        _ = try await fleet.revisions(of: "web")
        try await fleet.revokeToken("t1")
        // Answers that are no lists do not decode: only what was asked counts here.
        _ = try? await fleet.policy("a b/../c?x#ü")
        _ = try? await fleet.instance("i-0a")
        _ = try? await fleet.undo("web", UndoRequest(toRevision: 3))
        _ = try? await fleet.apply(ApplyRequest(files: [PolicyFile(name: "-", text: "x")], message: "m"))
        _ = try? await fleet.delete(DeleteRequest(names: ["web"]))
        _ = try? await fleet.createToken(TokenRequest(ttl: 60))
        _ = try? await fleet.diff(DiffRequest(files: []))
        _ = try? await fleet.label("i/1", LabelRequest(set: ["a": "b"], remove: ["c"]))
        _ = try? await fleet.setCordoned(true, "i-0a")
        _ = try? await fleet.setCordoned(false, "i-0a")
        _ = try? await fleet.retry("i-0a")
        _ = try? await fleet.forget("i-0a")
        let lines = wire.requests.withLock { requests in
            requests.map { "\($0.method.rawValue) \($0.url) \(String(decoding: $0.body ?? [], as: UTF8.self))" }
        }
        #expect(
            lines == [
                "GET https://c:8443/v1/policies ", "GET https://c:8443/v1/instances ",
                "GET https://c:8443/v1/tokens ", "GET https://c:8443/v1/events?limit=7 ",
                "GET https://c:8443/v1/events?limit=8&since=2026-01-02T03%3A04%3A05Z&actor=operator%3Aa%26b ",
                "GET https://c:8443/v1/policies/web/revisions ", "DELETE https://c:8443/v1/tokens/t1 ",
                "GET https://c:8443/v1/policies/a%20b%2F..%2Fc%3Fx%23%C3%BC ", "GET https://c:8443/v1/instances/i-0a ",
                "POST https://c:8443/v1/policies/web/undo {\"toRevision\":3}",
                "POST https://c:8443/v1/apply {\"files\":[{\"name\":\"-\",\"text\":\"x\"}],\"message\":\"m\"}",
                "POST https://c:8443/v1/delete {\"names\":[\"web\"]}",
                "POST https://c:8443/v1/tokens {\"labels\":{},\"ttl\":60,\"uses\":1}",
                "POST https://c:8443/v1/diff {\"files\":[]}",
                "POST https://c:8443/v1/instances/i%2F1/labels {\"remove\":[\"c\"],\"set\":{\"a\":\"b\"}}",
                "POST https://c:8443/v1/instances/i-0a/cordon ", "POST https://c:8443/v1/instances/i-0a/uncordon ",
                "POST https://c:8443/v1/instances/i-0a/retry ", "DELETE https://c:8443/v1/instances/i-0a ",
            ])
        let headers = wire.requests.withLock { $0.map { request in request.headers.map { "\($0.name): \($0.value)" } } }
        #expect(headers.allSatisfy { $0.contains("Authorization: Bearer nfo_s") })
        #expect(headers[0].contains { $0.hasPrefix("Content-Type") } == false)
        #expect(headers[10].contains("Content-Type: application/json"))
    }

    @Test func takesProblemsForWhatTheySay() async throws {
        let diagnostic = Diagnostic(file: "p", line: 1, column: 2, path: "spec", message: "bad", remedy: "mend it")
        let error = FleetError(.invalidPolicy, "not valid", remedy: "mend it")
        let body = try WireJSON.encode(Problem(error, status: 422, diagnostics: [diagnostic]))
        let wire = Wire(422, String(decoding: body, as: UTF8.self))
        let failure = await #expect(throws: Failure.self) { try await wire.fleet.instances() }
        #expect(failure == Failure(error, diagnostics: [diagnostic]))
    }

    @Test(arguments: [(502, "<html>"), (302, ""), (500, "{}")])
    func namesServersThatAreNoController(_ status: Int, _ body: String) async throws {
        let wire = Wire(status, body)
        let failure = await #expect(throws: Failure.self) { try await wire.fleet.instances() }
        #expect(failure?.error.code == .internal)
        #expect(failure?.error.message == "https://c:8443 answered \(status) without a reason")
    }

    @Test func namesAnswersOfAnotherVersion() async throws {
        let wire = Wire(200, "{\"new\": 1}")
        let error = await #expect(throws: FleetError.self) { try await wire.fleet.instances() }
        #expect(error?.code == .internal)
        #expect(error?.remedy == "use the natfleet of the controller's version")
    }

    @Test(
        arguments: [
            (.unresolved, .unreachable), (.unreachable, .unreachable), (.interrupted, .unreachable),
            (.other, .unreachable), (.timedOut, .timeout), (.untrusted, .unreachable), (.tls, .unreachable),
            (.tooLarge, .internal), (.cancelled, .timeout),
        ] as [(TransportError.Code, ErrorCode)])
    func saysWhyThereIsNoAnswer(_ transport: TransportError.Code, _ code: ErrorCode) async throws {
        let wire = Wire(.failure(TransportError(transport, "curl's words")))
        let error = await #expect(throws: FleetError.self) { try await wire.fleet.instances() }
        #expect(error?.code == code)
        #expect(error?.message.contains("https://c:8443") == true)
        #expect(error?.remedy != nil)
    }

    @Test func everyTransportErrorIsInTheTable() { #expect(TransportError.Code.allCases.count == 9) }

    @Test func exitsWithSixWhereNobodyListens() async throws {
        let folder = try TemporaryFolder()
        let path = try folder.write(
            clientConfiguration.replacing("controller.example:8443", with: "127.0.0.1:1"), to: "c.yaml")
        let fleet = RemoteFleet(ClientConfiguration(server: "https://127.0.0.1:1", ca: "none", token: "t"))
        let run = try await natfleet(["get", "instances", "--config", path], fleet)
        #expect(run.code == 6)
        #expect(run.errors.hasPrefix("error: no answer from https://127.0.0.1:1: "), "\(run.errors)")
    }
}
