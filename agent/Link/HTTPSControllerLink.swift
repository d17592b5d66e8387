// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: natfleet contributors

package import AgentCore
import Crypto
package import FleetAPI
import FleetModel
import HTTPSClient
import SwiftASN1

#if canImport(FoundationEssentials)
    import FoundationEssentials
#else
    import Foundation
#endif

/// The link over HTTPS: pins the CA by its hash, enrols, renews, checks in (DESIGN §7, §8).
package actor HTTPSControllerLink: ControllerLink {
    let configuration: AgentCore.Configuration
    let files: any StateFiles
    private var identity: Identity?
    private var client: HTTPSClient?
    /// For one outcome, with a connection of its own: one that was there before the rules changed proves nothing.
    private var fresh: HTTPSClient?
    private var connecting: Task<Void, Never>?
    /// Drawn once per certificate: half the life, plus or minus a tenth of it.
    private var renewAt: Double?
    package private(set) var health = LinkHealth()

    /// - Throws: when the identity on disk cannot be read: the agent must not enrol as somebody else over it.
    package init(configuration: AgentCore.Configuration, files: any StateFiles) throws {
        self.configuration = configuration
        self.files = files
        self.identity = try Identity.load(files)
    }

    package var isEnrolled: Bool { identity != nil }

    package var instanceID: String { identity?.instanceID ?? "" }

    package var renewalIsDue: Bool {
        if renewAt == nil, let identity, let validity = try? identity.validity() {
            renewAt = validity.start + (validity.end - validity.start) * Double.random(in: 0.4...0.6)
        }
        return renewAt.map { Date().timeIntervalSince1970 >= $0 } ?? false
    }

    package func checkIn(_ request: CheckinRequest) async throws(LinkTrouble) -> CheckinResponse {
        do throws(LinkTrouble) {
            return try await call(
                Endpoints.checkin, request, timeout: .seconds(request.wait + 30),
                through: request.outcome == nil ? nil : await freshClient())
        } catch {
            var trouble = error
            if error.error.code == .unauthorized, let token = configuration.joinToken {
                trouble.needsEnrolment = identity?.joinToken != digest(token)
            }
            throw trouble
        }
    }

    package func connectAnew() {
        let made = makeAuthenticatedClient()
        // Anything that has an answer; one that does not come soon is no reason to let the outcome wait.
        let request = HTTPSClient.Request(url: configuration.controller + Endpoints.ca, timeout: .seconds(3))
        fresh = made
        connecting = Task { _ = try? await made.send(request) }
    }

    /// Its connection ends with its last copy.
    private func freshClient() async -> HTTPSClient {
        await connecting?.value
        defer { fresh = nil }
        return fresh ?? makeAuthenticatedClient()
    }

    package func enrol() async throws(LinkTrouble) {
        let ca = try await pinnedCA()
        let key = try local { try enrolmentKey() }
        let request = EnrollRequest(
            csr: try local { try certificateRequest(for: key) }, joinToken: try joinToken(),
            instanceID: configuration.instanceID, labels: configuration.labels)
        let open = HTTPSClient(makeConfiguration(ca: ca, identity: nil))
        let issued: IssuedIdentity = try await call(Endpoints.enroll, request, timeout: .seconds(30), through: open)
        try adopt(issued, key: key, ca: [ca], token: digest(request.joinToken))
        // A key that stays is the identity's own: no reason to call the enrolment failed.
        try? files.remove(.enrolmentKey)
    }

    package func renew() async throws(LinkTrouble) {
        guard let identity else { return }
        let key = P256.Signing.PrivateKey()
        let request = RenewRequest(csr: try local { try certificateRequest(for: key) })
        let issued: IssuedIdentity = try await call(Endpoints.renew, request, timeout: .seconds(30))
        try adopt(issued, key: key, ca: identity.ca, token: identity.joinToken)
    }

    /// On disk before its first use: the controller ends the old certificate then.
    private func adopt(
        _ issued: IssuedIdentity, key: P256.Signing.PrivateKey, ca: [String], token: String
    ) throws(LinkTrouble) {
        let adopted = Identity(
            instanceID: issued.instanceID, key: key.pemRepresentation, certificate: issued.certificate, ca: ca,
            joinToken: token)
        try local {
            _ = try adopted.validity()
            try adopted.save(files)
        }
        identity = adopted
        (client, fresh) = (nil, nil)
        renewAt = nil
    }

    private func joinToken() throws(LinkTrouble) -> String {
        guard let token = configuration.joinToken else {
            throw LinkTrouble(
                FleetError(
                    .unauthorized, "this instance has no identity yet and no join token to get one",
                    remedy: "run 'natfleet token create' and set NATFLEET_JOIN_TOKEN in agent.conf"))
        }
        return token
    }

    private func enrolmentKey() throws -> P256.Signing.PrivateKey {
        if let bytes = try files.read(.enrolmentKey) {
            return try P256.Signing.PrivateKey(pemRepresentation: String(decoding: bytes, as: UTF8.self))
        }
        let key = P256.Signing.PrivateKey()
        try files.write(.enrolmentKey, Array(key.pemRepresentation.utf8))
        return key
    }

    /// Fetches the CA bundle from whoever answers, and takes only the certificate whose DER has the configured hash.
    /// Nothing of ours has been sent by then.
    private func pinnedCA() async throws(LinkTrouble) -> String {
        let open = HTTPSClient(makeConfiguration(ca: nil, identity: nil))
        // Whoever answers here may be anybody, and have any clock.
        let answer = try await send(.init(url: configuration.controller + Endpoints.ca), through: open)
        let bundle: CABundle = try decode(answer)
        for pem in bundle.certificates {
            guard let document = try? PEMDocument(pemString: pem) else { continue }
            if hex(SHA256.hash(data: document.derBytes)) == configuration.caHash { return pem }
        }
        throw LinkTrouble(
            FleetError(
                .unreachable,
                "the controller at \(configuration.controller) shows a CA whose SHA-256 is not NATFLEET_CA_HASH",
                remedy:
                    "compare NATFLEET_CA_HASH with what 'natfleet serve' printed; nothing was sent to this controller"))
    }

    private func call<Response: Decodable>(
        _ path: String, _ body: some Encodable, timeout: Duration, through other: HTTPSClient? = nil
    ) async throws(LinkTrouble) -> Response {
        let bytes = try local { Array(try WireJSON.encode(body)) }
        let request = HTTPSClient.Request(
            .post, url: configuration.controller + path, headers: [("content-type", "application/json")],
            body: bytes, timeout: timeout)
        let answer = try await send(request, through: other ?? authenticatedClient())
        if let date = answer.date { health.clockSkew = date - Date().timeIntervalSince1970 }
        return try decode(answer)
    }

    private func send(
        _ request: HTTPSClient.Request, through client: HTTPSClient
    ) async throws(LinkTrouble) -> HTTPSClient.Response {
        do throws(LinkTrouble) {
            let answer = try await exchange(request, through: client)
            health.trouble = nil
            return answer
        } catch {
            // A check-in that news of our own has ended says nothing.
            if !Task.isCancelled { health.trouble = error.error.message }
            throw error
        }
    }

    private func authenticatedClient() -> HTTPSClient {
        if let client { return client }
        let made = makeAuthenticatedClient()
        client = made
        return made
    }

    private func makeAuthenticatedClient() -> HTTPSClient {
        HTTPSClient(makeConfiguration(ca: identity?.ca.joined(separator: "\n"), identity: identity))
    }

    private func makeConfiguration(ca: String?, identity: Identity?) -> HTTPSClient.Configuration {
        .init(
            trust: ca.map { .authorities(pem: $0) } ?? .unverified,
            clientIdentity: identity.map { .init(certificatePEM: $0.certificate, keyPEM: $0.key) },
            userAgent: "natfleet-agent/\(NatfleetVersion.current)", maxResponseBytes: 64 << 20)
    }
}

private func digest(_ token: String) -> String { hex(SHA256.hash(data: Array(token.utf8))) }

func hex(_ bytes: some Sequence<UInt8>) -> String {
    bytes.map { ($0 < 16 ? "0" : "") + String($0, radix: 16) }.joined()
}

/// Failures of this machine (disk, keys) in the words of the link.
func local<Value>(_ body: () throws -> Value) throws(LinkTrouble) -> Value {
    do {
        return try body()
    } catch {
        throw LinkTrouble(FleetError(.internal, "\(error)", remedy: "check the agent's state folder"))
    }
}
