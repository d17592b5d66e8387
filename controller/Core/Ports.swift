// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: natfleet contributors

package import FleetAPI
package import NATPolicy

#if canImport(FoundationEssentials)
    package import FoundationEssentials
#else
    package import Foundation
#endif

/// What an operator may do; each role includes the ones before it.
package enum OperatorRole: String, Comparable, CaseIterable, Hashable, Sendable {
    /// Reads everything but secrets.
    case viewer
    /// Changes policies and lets machines in.
    case `operator`
    /// Manages operators too.
    case admin

    private var rank: Int {
        switch self {
        case .viewer: 0
        case .operator: 1
        case .admin: 2
        }
    }

    package static func < (left: OperatorRole, right: OperatorRole) -> Bool { left.rank < right.rank }
}

/// An operator whose token was found valid.
package struct OperatorIdentity: Hashable, Sendable {
    package var name: String
    package var role: OperatorRole

    package init(name: String, role: OperatorRole) {
        self.name = name
        self.role = role
    }

    var actor: String { "operator:\(name)" }
}

/// An agent whose certificate was found valid.
package struct AgentIdentity: Hashable, Sendable {
    package var instance: String
    package var serial: String

    package init(instance: String, serial: String) {
        self.instance = instance
        self.serial = serial
    }

    var actor: String { "instance:\(instance)" }
}

/// A certificate of the fleet's authority, in its time, as a peer showed it.
package struct VerifiedPeer: Hashable, Sendable {
    package var agent: AgentIdentity
    /// SHA-256 of its public key (X9.63 form), lower-case hexadecimal.
    package var keyHash: String
    /// When the authority made it, to the second.
    package var issuedAt: Date
    package var expiresAt: Date

    package init(agent: AgentIdentity, keyHash: String, issuedAt: Date, expiresAt: Date) {
        self.agent = agent
        self.keyHash = keyHash
        self.issuedAt = issuedAt
        self.expiresAt = expiresAt
    }
}

/// A signing request that was checked: the signature holds, the key is a P-256 one. What else the request asks for is
/// ignored.
package struct CheckedRequest: Hashable, Sendable {
    /// PEM, as it came.
    package var csr: String
    /// SHA-256 of the public key (X9.63 form), lower-case hexadecimal.
    package var keyHash: String

    package init(csr: String, keyHash: String) {
        self.csr = csr
        self.keyHash = keyHash
    }
}

package struct IssuedCertificate: Hashable, Sendable {
    package var pem: String
    package var serial: String
    package var notBefore: Date
    package var notAfter: Date

    package init(pem: String, serial: String, notBefore: Date, notAfter: Date) {
        self.pem = pem
        self.serial = serial
        self.notBefore = notBefore
        self.notAfter = notAfter
    }
}

/// The fleet's certificate authority, as far as the use-cases need it.
package protocol CertificateAuthority: Sendable {
    /// PEM, the current one first.
    var bundle: [String] { get }

    /// The end of the current one.
    var expires: Date { get }

    /// - Throws: `FleetError` badRequest.
    func check(csr: String) throws -> CheckedRequest

    /// A client certificate for one instance, good for 24 hours.
    func issue(_ request: CheckedRequest, instance: String, now: Date) throws -> IssuedCertificate

    /// Signature by this authority, validity, purpose and form of a certificate that a peer showed, DER. Says nothing
    /// of bans and revocation.
    ///
    /// - Throws: `FleetError` unauthorized.
    func verify(peer certificate: [UInt8], now: Date) throws -> VerifiedPeer
}

/// Reads policy documents out of files: what is valid, and all that is wrong, a policy that occurs twice included.
package typealias PolicyReader = @Sendable ([PolicyFile]) -> (documents: [PolicyDocument], diagnostics: [Diagnostic])

/// Time, sleep and randomness, so that tests can hold them.
package struct Surroundings: Sendable {
    package var now: @Sendable () -> Date
    package var sleep: @Sendable (Duration) async throws -> Void
    package var randomBytes: @Sendable (Int) -> [UInt8]

    package init(
        now: @escaping @Sendable () -> Date = { Date() },
        sleep: @escaping @Sendable (Duration) async throws -> Void = { try await Task.sleep(for: $0) },
        randomBytes: @escaping @Sendable (Int) -> [UInt8] = { count in
            var generator = SystemRandomNumberGenerator()
            return (0..<count).map { _ in UInt8.random(in: .min ... .max, using: &generator) }
        }
    ) {
        self.now = now
        self.sleep = sleep
        self.randomBytes = randomBytes
    }
}

/// The controller's private key and certificate, PEM.
package struct ServerKeyPair: Hashable, Sendable {
    package var keyPEM: String
    package var certificatePEM: String

    package init(keyPEM: String, certificatePEM: String) {
        self.keyPEM = keyPEM
        self.certificatePEM = certificatePEM
    }
}

/// The controller's own certificate, which renews itself.
package protocol ServerCertificate: Sendable {
    var current: ServerKeyPair { get }

    /// Its end.
    var expires: Date { get }

    /// True when there is a new one; handshakes from now on show it.
    func renewIfDue(now: Date) throws -> Bool
}
