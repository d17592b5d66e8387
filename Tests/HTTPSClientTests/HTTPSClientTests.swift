// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: natfleet contributors

import Foundation
import HTTPSClient
import Testing

/// Against `openssl s_server`, a TLS implementation and a certificate check of others' making.
struct HTTPSClientTests {
    let authority: Authority

    init() async throws {
        authority = try await Authority()
        try await authority.issue("address", for: "IP:127.0.0.1")
    }

    private func client(identity: HTTPSClient.ClientIdentity? = nil, maxResponseBytes: Int = 1 << 20) throws
        -> HTTPSClient
    {
        HTTPSClient(
            .init(
                trust: .authorities(pem: try authority.pem), clientIdentity: identity, userAgent: "test/1",
                maxResponseBytes: maxResponseBytes))
    }

    /// Sends and expects a failure.
    private func failure(_ client: HTTPSClient, _ request: HTTPSClient.Request) async throws -> TransportError {
        try await #require(throws: TransportError.self) { try await client.send(request) }
    }

    private func fileServer(_ certificate: String = "address", _ options: [String] = []) async throws -> TLSServer {
        try authority.write(
            "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nX-Twice: a\r\nx-twice:  b \r\n\r\nhello", to: "hello")
        return try await TLSServer(authority, certificate: certificate, ["-HTTP"] + options)
    }

    // MARK: Answers

    @Test func givesStatusHeadersAndBody() async throws {
        let server = try await fileServer()
        let response = try await client().send(.init(url: "https://127.0.0.1:\(server.port)/hello"))
        #expect(response.status == 200)
        #expect(response.headers["x-twice"] == "a, b")
        #expect(response.body == Array("hello".utf8))
        #expect(response.retryAfter == nil)
    }

    @Test(arguments: [("7", 7), ("0", 0), ("-1", nil), ("Wed, 21 Oct 2015 07:28:00 GMT", nil)] as [(String, Int?)])
    func readsRetryAfterOfErrors(_ text: String, _ seconds: Int?) async throws {
        let server = try await fileServer()
        try authority.write("HTTP/1.1 503 No\r\nContent-Length: 0\r\nRetry-After: \(text)\r\n\r\n", to: "busy")
        let response = try await client().send(.init(url: "https://127.0.0.1:\(server.port)/busy"))
        #expect(response.status == 503)
        #expect(response.retryAfter == seconds)
    }

    @Test func doesNotFollowRedirects() async throws {
        let server = try await fileServer()
        try authority.write(
            "HTTP/1.1 302 Found\r\nLocation: https://127.0.0.1:\(server.port)/hello\r\nContent-Length: 0\r\n\r\n",
            to: "moved")
        let response = try await client().send(.init(url: "https://127.0.0.1:\(server.port)/moved"))
        #expect(response.status == 302)
    }

    @Test func forgetsTheHeadersOfInterimAnswers() async throws {
        let server = try await fileServer()
        try authority.write(
            "HTTP/1.1 103 Early\r\nX-Early: 1\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", to: "early")
        let response = try await client().send(.init(url: "https://127.0.0.1:\(server.port)/early"))
        #expect(response.status == 200)
        #expect(response.headers["x-early"] == nil)
    }

    @Test func sendsMethodHeadersAndBodyAndKeepsTheConnection() async throws {
        let server = try await TLSServer(authority, certificate: "address", [])
        let (client, url) = (try client(), "https://127.0.0.1:\(server.port)/v1/x")
        // Long enough for curl to ask before it sends, if it were let.
        let body = String(repeating: "0123456789\n", count: 100_000) + "{end}"
        async let first = client.send(
            .init(.post, url: url, headers: [("Content-Type", "text/plain")], body: Array(body.utf8)))
        try await server.prints("{end}")
        try server.answer("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
        #expect(try await first.status == 200)
        async let second = client.send(.init(.delete, url: url))
        try await server.prints("DELETE /v1/x HTTP/1.1\r\n")
        try server.answer("HTTP/1.1 204 Gone\r\n\r\n")
        #expect(try await second.status == 204)
        async let third = client.send(.init(.post, url: url))
        try await server.prints("Content-Length: 0\r\n")
        try server.answer("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
        #expect(try await third.status == 200)

        let output = server.output
        for line in [
            "POST /v1/x HTTP/1.1\r\n", "User-Agent: test/1\r\n", "Content-Type: text/plain\r\n",
            "Content-Length: 1100005\r\n",
        ] { #expect(output.contains(line), "\(line) in \(output)") }
        #expect(!output.contains("Expect:"))
        #expect(output.ranges(of: "CIPHER is").count == 1, "one connection for all")
        // The server is still held by the kept connection, so that another client's gets no answer.
        let other = try self.client()
        let error = try await failure(other, .init(url: url, timeout: .seconds(1)))
        #expect(error.code == .timedOut)
        #expect(server.output.ranges(of: "HTTP/1.1\r\n").count == 3)
    }

    @Test func showsItsCertificateWhereOneIsWanted() async throws {
        try await authority.issue("client", for: "URI:natfleet:i-0abc")
        let server = try await fileServer("address", ["-CAfile", "ca.pem", "-Verify", "1", "-verify_return_error"])
        let identity = HTTPSClient.ClientIdentity(
            certificatePEM: try authority.text("client.pem"), keyPEM: try authority.text("client.key"))
        let request = HTTPSClient.Request(url: "https://127.0.0.1:\(server.port)/hello")
        #expect(try await client(identity: identity).send(request).status == 200)
        let error = try await failure(try client(), request)
        #expect([.interrupted, .tls].contains(error.code), "\(error.code): \(error)")
    }

    // MARK: Trust

    @Test func refusesAnotherAuthority() async throws {
        let server = try await fileServer()
        let stranger = HTTPSClient(.init(trust: .authorities(pem: try await Authority().pem)))
        let request = HTTPSClient.Request(url: "https://127.0.0.1:\(server.port)/hello")
        #expect(try await failure(stranger, request).code == .untrusted)
        #expect(try await HTTPSClient(.init(trust: .unverified)).send(request).status == 200)
    }

    @Test(arguments: [("address", "localhost"), ("name", "127.0.0.1")])
    func refusesACertificateForAnotherHost(_ certificate: String, _ host: String) async throws {
        if certificate == "name" { try await authority.issue("name", for: "DNS:localhost") }
        let server = try await fileServer(certificate)
        let error = try await failure(try client(), .init(url: "https://\(host):\(server.port)/hello"))
        #expect(error.code == .untrusted)
    }

    @Test func acceptsACertificateForItsName() async throws {
        try await authority.issue("name", for: "DNS:localhost")
        let server = try await fileServer("name")
        #expect(try await client().send(.init(url: "https://localhost:\(server.port)/hello")).status == 200)
    }

    @Test func refusesOldTLS() async throws {
        let server = try await fileServer("address", ["-tls1_1", "-cipher", "ALL:@SECLEVEL=0"])
        #expect(try await failure(try client(), .init(url: "https://127.0.0.1:\(server.port)/hello")).code == .tls)
    }

    @Test func refusesKeysAndAuthoritiesThatAreNone() async throws {
        let server = try await fileServer()
        let request = HTTPSClient.Request(url: "https://127.0.0.1:\(server.port)/hello")
        let none = HTTPSClient(.init(trust: .authorities(pem: "nothing")))
        #expect(try await failure(none, request).code == .tls)
        let broken = try client(identity: .init(certificatePEM: "nothing", keyPEM: "nothing"))
        #expect(try await failure(broken, request).code == .tls)
    }

    // MARK: Bounds

    @Test func endsWhenTheBodyIsTooLong() async throws {
        let server = try await fileServer()
        let body = String(repeating: "x", count: 100_000)
        try authority.write("HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n" + body, to: "long")
        let request = HTTPSClient.Request(url: "https://127.0.0.1:\(server.port)/long")
        #expect(try await client(maxResponseBytes: 100_000).send(request).body.count == 100_000)
        #expect(try await failure(try client(maxResponseBytes: 99_999), request).code == .tooLarge)
    }

    @Test func endsWhenTheHeadIsTooLong() async throws {
        let server = try await fileServer()
        let lines = String(repeating: "X: \(String(repeating: "y", count: 1000))\r\n", count: 80)
        try authority.write("HTTP/1.1 200 OK\r\n\(lines)Content-Length: 0\r\n\r\n", to: "head")
        let error = try await failure(try client(), .init(url: "https://127.0.0.1:\(server.port)/head"))
        #expect(error.code == .tooLarge)
    }

    @Test func endsInTime() async throws {
        let server = try await TLSServer(authority, certificate: "address", [])
        let request = HTTPSClient.Request(url: "https://127.0.0.1:\(server.port)/", timeout: .milliseconds(300))
        #expect(try await failure(try client(), request).code == .timedOut)
    }

    @Test func endsAtOnceWhenCancelled() async throws {
        let server = try await TLSServer(authority, certificate: "address", [])
        let (client, url) = (try client(), "https://127.0.0.1:\(server.port)/held")
        let task = Task { try await client.send(.init(url: url, timeout: .seconds(60))) }
        try await server.prints("GET /held")
        // Until curl's timers of connecting are over: they would wake it as well.
        try await Task.sleep(for: .seconds(1))
        let start = ContinuousClock.now
        task.cancel()
        let error = await #expect(throws: TransportError.self) { try await task.value }
        #expect(error?.code == .cancelled)
        #expect(ContinuousClock.now - start < .seconds(2))
    }

    @Test func sendsNothingForATaskThatIsCancelledAlready() async throws {
        let server = try await TLSServer(authority, certificate: "address", [])
        let (client, url) = (try client(), "https://127.0.0.1:\(server.port)/late")
        let task = Task {
            withUnsafeCurrentTask { $0?.cancel() }
            return try await client.send(.init(url: url))
        }
        let error = await #expect(throws: TransportError.self) { try await task.value }
        #expect(error?.code == .cancelled)
        #expect(!server.output.contains("GET /late"))
    }

    @Test func servesOthersWhileOneIsHeld() async throws {
        let held = try await TLSServer(authority, certificate: "address", [])
        let quick = try await fileServer()
        let client = try client()
        let task = Task { try await client.send(.init(url: "https://127.0.0.1:\(held.port)/held")) }
        try await held.prints("GET /held")
        #expect(try await client.send(.init(url: "https://127.0.0.1:\(quick.port)/hello")).status == 200)
        task.cancel()
    }

    @Test func outlivesItsLastCopyOnlyAsLongAsNeeded() async throws {
        let server = try await fileServer()
        let url = "https://127.0.0.1:\(server.port)/hello"
        let before = try threads()
        for _ in 0..<200 { #expect(try await client().send(.init(url: url)).status == 200) }
        // Tests that run meanwhile have threads too, but far fewer.
        for _ in 0..<500 where try threads() > before + 100 { try await Task.sleep(for: .milliseconds(10)) }
        #expect(try threads() <= before + 100)
    }

    private func threads() throws -> Int {
        try FileManager.default.contentsOfDirectory(atPath: "/proc/self/task").count
    }

    // MARK: No way there

    @Test func saysThatNobodyListens() async throws {
        let error = try await failure(try client(), .init(url: "https://127.0.0.1:1/"))
        #expect(error.code == .unreachable)
        #expect(!error.message.isEmpty)
    }

    @Test func saysThatTheHostIsUnknown() async throws {
        let error = try await failure(try client(), .init(url: "https://nowhere.invalid/", timeout: .seconds(5)))
        #expect([.unresolved, .timedOut].contains(error.code), "\(error.code): \(error)")
    }

    @Test func saysThatTheConnectionBroke() async throws {
        let server = try await fileServer()
        try authority.write("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf", to: "half")
        let error = try await failure(try client(), .init(url: "https://127.0.0.1:\(server.port)/half"))
        #expect(error.code == .interrupted)
    }

    @Test(arguments: ["http://127.0.0.1/", "file:///etc/hostname", "127.0.0.1", ""])
    func speaksHTTPSOnly(_ url: String) async throws {
        let error = try await failure(try client(), .init(url: url))
        #expect(error == TransportError(.other, "'\(url)' does not begin with https://"))
    }

    @Test(arguments: ["a\r\nB: c", "a\nb", "a\u{0}"])
    func refusesHeadersThatBreakOut(_ value: String) async throws {
        let request = HTTPSClient.Request(url: "https://127.0.0.1:1/", headers: [("Authorization", value)])
        let error = try await failure(try client(), request)
        #expect(error == TransportError(.other, "header 'Authorization' holds a control character"))
    }
}
