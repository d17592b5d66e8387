// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: natfleet contributors

import ControllerCore
import ControllerHTTP
import ControllerPKI
import FleetAPI
import FleetModel
import Foundation
import NATPolicy
import ServiceLifecycle
import SwiftASN1
import Synchronization
import Testing
import X509

/// The server as it is met on the network, with curl as the client.
struct TLSTests {
    private static let status = """
        {"status":{"phase":"idle","layers":[],"conditions":[],"agentVersion":"test"},"wait":0}
        """

    private func problem(_ answer: CurlAnswer) throws -> Problem {
        #expect(answer.contentType == "application/problem+json")
        let problem = try WireJSON.decode(Problem.self, from: answer.body)
        #expect(problem.status == answer.status)
        return problem
    }

    @Test func onlyACertificateOfTheFleetThatIsKnownAndInItsTimeMayCheckIn() async throws {
        try await LiveServer.with { server in
            let good = try await server.client("i-good")
            let foreign = try await server.client("i-foreign", of: try FleetAuthority.make(now: server.test.clock.now))
            let expired = try await server.client(
                "i-expired", issued: server.test.clock.now.addingTimeInterval(-2 * 86_400))
            let unknown = try await server.client("i-unknown", known: false)
            let rows: [([String], String?)] = [
                (good, nil), ([], "no client certificate"), (foreign, "not one of this fleet"),
                (expired, "has expired"), (unknown, "not known here"), (good, nil),
            ]
            for version in ["--tls-max 1.2", "--tlsv1.3"] {
                for (arguments, word) in rows {
                    let answer = try await curl(
                        ["--cacert", "\(server.test.path)/ca.crt", "https://127.0.0.1:\(server.port)/v1/checkin"]
                            + arguments + version.split(separator: " ").map(String.init) + ["--data", Self.status])
                    guard let word else {
                        #expect(answer.status == 200)
                        let response = try WireJSON.decode(CheckinResponse.self, from: answer.body)
                        #expect(response.desired?.policy == EffectivePolicy.none)
                        continue
                    }
                    #expect(answer.status == 401)
                    #expect(try problem(answer).detail.contains(word))
                }
            }
            // Whom a certificate names counts, whatever the body says.
            #expect(try await server.test.fleet.instances().map(\.id) == ["i-good"])
        }
    }

    @Test func aBodyOverTheLimitIsRefusedWithOrWithoutALength() async throws {
        try await LiveServer.with { server in
            let path = "\(server.test.path)/large"
            try Data(repeating: 0x20, count: 300_000).write(to: URL(fileURLWithPath: path))
            for extra in ["Expect:", "Transfer-Encoding: chunked"] {
                let answer = try await server.curl(
                    Endpoints.enroll, "--data-binary", "@\(path)", "--header", extra, "--header", "Expect:")
                #expect(answer.status == 413)
                #expect(try problem(answer).code == .bodyTooLarge)
            }
        }
    }

    @Test func aBodyThatDripsIsCutOff() async throws {
        let limits = BodyLimits(
            small: BodyLimit(bytes: 1000, time: .milliseconds(500)), files: BodyLimit(bytes: 1000, time: .seconds(1)))
        try await LiveServer.with(limits: limits) { server in
            let body = String(repeating: " ", count: 200)
            for chunked in [true, false] {
                let length = chunked ? "Accept: */*" : "Content-Length: 200"
                let coding = chunked ? "Transfer-Encoding: chunked" : "Transfer-Encoding:"
                let answer = try await server.curl(
                    Endpoints.enroll, "--header", length, "--header", coding, "--header", "Expect:", drip: body)
                #expect(answer.status == 408)
                #expect(try problem(answer).code == .bodyTimeout)
            }
            // Others are served meanwhile and afterwards.
            #expect(try await server.curl(Endpoints.ca).status == 200)
        }
    }

    @Test func aTruncatedBodyIsNoRequest() async throws {
        try await LiveServer.with { server in
            let answer = try await server.curl(Endpoints.enroll, "--data", "{\"csr\": \"")
            #expect(answer.status == 400)
            #expect(try problem(answer).detail.contains("not valid JSON"))
        }
    }

    @Test func heldCheckinsAreAnsweredWhenTheControllerStops() async throws {
        let answers = Recorder<CurlAnswer>()
        let clock = ContinuousClock()
        let stopped = Mutex<ContinuousClock.Instant?>(nil)
        try await LiveServer.with { server in
            let client = try await server.client("i-1")
            let held = """
                {"status":{"phase":"idle","layers":[],"conditions":[],"agentVersion":"test"},"wait":50,\
                "answeredHash":"\(EffectivePolicy.none.hash)"}
                """
            async let answer = curl(
                ["--cacert", "\(server.test.path)/ca.crt", "https://127.0.0.1:\(server.port)/v1/checkin"] + client
                    + ["--data", held])
            #expect(try await eventually { server.test.fleet.hub.waiting == 1 })
            stopped.withLock { $0 = clock.now }
            await server.group.triggerGracefulShutdown()
            answers.add(try await answer)
        }
        let answer = try #require(answers.values.first)
        #expect(answer.status == 200)
        #expect((1...5).contains(try WireJSON.decode(CheckinResponse.self, from: answer.body).nextAfter))
        let start = try #require(stopped.withLock { $0 })
        // It would have been held for 50 s.
        #expect(clock.now - start < .seconds(25))
    }

    @Test func theServersCertificateIsRenewedWithoutARestart() async throws {
        // Nine of its thirty days are left.
        try await LiveServer.with(certificateMade: Date().addingTimeInterval(-21 * 86_400)) { server in
            let before = try await server.curl(Endpoints.ca)
            #expect(before.status == 200)
            let path = "\(server.test.path)/renewed.pub"
            let isShown = try await eventually {
                let certificate = try Certificate(pemEncoded: server.identity.current.certificatePEM)
                guard certificate.notValidAfter > Date().addingTimeInterval(29 * 86_400) else { return false }
                let key = try certificate.publicKey.serializeAsPEM().pemString
                try key.write(toFile: path, atomically: true, encoding: .utf8)
                return try await server.curl(Endpoints.ca, "--pinnedpubkey", path).status == 200
            }
            #expect(isShown)
        }
    }

    @Test func aClientThatTrustsAnotherAuthorityDoesNotConnect() async throws {
        try await LiveServer.with { server in
            let other = try FleetAuthority.make(now: server.test.clock.now)
            let path = "\(server.test.path)/other.crt"
            try other.bundle[0].write(toFile: path, atomically: true, encoding: .utf8)
            let answer = try await curl(["--cacert", path, "https://127.0.0.1:\(server.port)/v1/ca"])
            #expect(answer.status == 0)
        }
    }
}
