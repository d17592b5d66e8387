// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: natfleet contributors

package import ControllerCore
import Crypto
import FleetModel
import NetAddress
import SwiftASN1
import Synchronization
import X509

#if canImport(FoundationEssentials)
    package import FoundationEssentials
#else
    package import Foundation
#endif

/// The controller's own certificate: 30 days, made again when ten are left or when it should carry other names.
///
/// Threading: one mutex around what is current; handshakes read it, `renewIfDue` replaces it.
package final class ServerIdentity: ServerCertificate {
    static let file = "pki/server.pem"
    private static let lifetime: TimeInterval = 30 * 86_400
    private static let remainder: TimeInterval = 10 * 86_400

    private struct Current {
        var pair: ServerKeyPair
        var end: Date
    }

    private let authority: FleetAuthority
    private let folder: DataFolder
    private let names: [GeneralName]
    private let state: Mutex<Current>

    /// - Parameter names: DNS names and addresses under which clients reach the controller.
    package init(_ authority: FleetAuthority, names: [String], in folder: DataFolder, now: Date) throws {
        self.authority = authority
        self.folder = folder
        self.names = Self.generalNames(names)
        let stored = try folder.read(Self.file).flatMap { try? FleetAuthority.parse($0) }
        if let (key, certificate) = stored, Self.serves(certificate, self.names, authority, now) {
            state = Mutex(Current(pair: try Self.pair(key, certificate), end: certificate.notValidAfter))
        } else {
            state = Mutex(try Self.make(authority, self.names, in: folder, now: now))
        }
    }

    package var current: ServerKeyPair { state.withLock { $0.pair } }

    package var expires: Date { state.withLock { $0.end } }

    package func renewIfDue(now: Date) throws -> Bool {
        guard state.withLock({ $0.end.timeIntervalSince(now) < Self.remainder }) else { return false }
        let made = try Self.make(authority, names, in: folder, now: now)
        state.withLock { $0 = made }
        return true
    }

    private static func serves(
        _ certificate: Certificate, _ names: [GeneralName], _ authority: FleetAuthority, _ now: Date
    ) -> Bool {
        guard let carried = try? certificate.extensions.subjectAlternativeNames else { return false }
        return certificate.notValidAfter.timeIntervalSince(now) >= remainder && certificate.notValidBefore <= now
            && Set(carried) == Set(names)
            && authority.certificate.publicKey.isValidSignature(certificate.signature, for: certificate)
    }

    private static func make(
        _ authority: FleetAuthority, _ names: [GeneralName], in folder: DataFolder, now: Date
    ) throws -> Current {
        let key = Certificate.PrivateKey(P256.Signing.PrivateKey())
        let certificate = try authority.issue(
            key: key.publicKey, name: "natfleet controller", lifetime: lifetime, now: now,
            extensions: Certificate.Extensions {
                Critical(BasicConstraints.notCertificateAuthority)
                Critical(KeyUsage(digitalSignature: true))
                try ExtendedKeyUsage([.serverAuth])
                SubjectAlternativeNames(names)
                AuthorityKeyIdentifier(keyIdentifier: try authority.keyIdentifier)
            })
        let pair = try pair(key, certificate)
        try folder.write(pair.keyPEM + "\n" + pair.certificatePEM + "\n", to: file)
        return Current(pair: pair, end: certificate.notValidAfter)
    }

    private static func pair(_ key: Certificate.PrivateKey, _ certificate: Certificate) throws -> ServerKeyPair {
        ServerKeyPair(
            keyPEM: try key.serializeAsPEM().pemString, certificatePEM: try certificate.serializeAsPEM().pemString)
    }

    private static func generalNames(_ names: [String]) -> [GeneralName] {
        var seen: Set<GeneralName> = []
        return names.map { name in
            guard let address = try? IPAddress(name) else { return .dnsName(name) }
            let width = address.family.bits / 8
            let bytes = (0..<width).map { UInt8(truncatingIfNeeded: address.bits >> UInt128((width - 1 - $0) * 8)) }
            return .ipAddress(ASN1OctetString(contentBytes: bytes[...]))
        }.filter { seen.insert($0).inserted }
    }
}
