// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: natfleet contributors

package import ControllerCore
import Crypto
import FleetModel
import SwiftASN1
package import X509

#if canImport(FoundationEssentials)
    package import FoundationEssentials
#else
    package import Foundation
#endif

/// The fleet's own certificate authority: P-256, made on the first start, ten years.
///
/// Goals: agents hold short certificates that say which instance they are and nothing else; what a request asks for
/// beside its key is ignored; whoever shows another CA's, an expired or a server certificate is nobody.
/// Approach: key and certificate lie together in `pki/ca.pem`, so that a crash cannot part them. Checking a peer is one
/// signature and a few comparisons; whether the serial is still accepted is the store's business.
/// Threading: a value; nothing changes after init.
package struct FleetAuthority: CertificateAuthority {
    /// Of key and certificate, in the data folder.
    package static let file = "pki/ca.pem"
    private static let lifetime: TimeInterval = 10 * 365 * 86_400
    private static let clientLifetime: TimeInterval = 86_400
    /// Clocks of agents may be behind.
    static let backdating: TimeInterval = 300

    let key: Certificate.PrivateKey
    package let certificate: Certificate
    package let bundle: [String]

    /// Reads the authority from the data folder; makes it when there is none and nobody trusts one yet.
    ///
    /// - Parameter hasMembers: the fleet has instances or operators. They trust the authority that they know: another one
    ///   in its place would lock all of them out.
    /// - Throws: `FleetError` internal when the file is damaged, notFound when it is lost.
    package init(in folder: DataFolder, hasMembers: Bool, now: Date) throws {
        try folder.makeFolder("pki")
        if let text = try folder.read(Self.file) {
            guard let (key, certificate) = try? Self.parse(text) else {
                throw FleetError(
                    .internal, "\(folder.path(of: Self.file)) is damaged",
                    remedy: "put a backup in its place: agents trust this authority only")
            }
            try self.init(key: key, certificate: certificate)
            return
        }
        guard !hasMembers else {
            throw FleetError(
                .notFound,
                "\(folder.path(of: Self.file)) is missing: the fleet's authority, which its instances and operators trust",
                remedy: "put it back from a backup; for a new fleet, in which every agent enrols again, give this one "
                    + "an empty folder with --data")
        }
        let made = try Self.make(now: now)
        try folder.write(try made.key.serializeAsPEM().pemString + "\n" + made.bundle[0] + "\n", to: Self.file)
        self = made
    }

    init(key: Certificate.PrivateKey, certificate: Certificate) throws {
        self.key = key
        self.certificate = certificate
        self.bundle = [try certificate.serializeAsPEM().pemString]
    }

    package var expires: Date { certificate.notValidAfter }

    /// SHA-256 of the certificate's DER, hexadecimal: what agents are started with.
    package var fingerprint: String {
        get throws { sha256(try certificate.der) }
    }

    /// A fresh authority that is nowhere stored.
    package static func make(now: Date) throws -> FleetAuthority {
        let key = Certificate.PrivateKey(P256.Signing.PrivateKey())
        let name = try DistinguishedName { CommonName("natfleet CA") }
        let certificate = try Certificate(
            version: .v3, serialNumber: randomSerial(), publicKey: key.publicKey,
            notValidBefore: now.addingTimeInterval(-backdating), notValidAfter: now.addingTimeInterval(lifetime),
            issuer: name, subject: name, signatureAlgorithm: .ecdsaWithSHA256,
            extensions: Certificate.Extensions {
                Critical(BasicConstraints.isCertificateAuthority(maxPathLength: 0))
                Critical(KeyUsage(keyCertSign: true, cRLSign: true))
                SubjectKeyIdentifier(hash: key.publicKey)
            },
            issuerPrivateKey: key)
        return try FleetAuthority(key: key, certificate: certificate)
    }

    package func check(csr text: String) throws -> CheckedRequest {
        guard let request = try? CertificateSigningRequest(pemEncoded: text) else {
            throw FleetError(
                .badRequest, "'csr' is not a certificate signing request", remedy: "send PKCS#10 as PEM")
        }
        guard let key = P256.Signing.PublicKey(request.publicKey) else {
            throw FleetError(.badRequest, "the key of 'csr' is not a P-256 one", remedy: "make a P-256 key")
        }
        guard request.publicKey.isValidSignature(request.signature, for: request) else {
            throw FleetError(.badRequest, "the signature of 'csr' does not hold", remedy: "sign it with its own key")
        }
        return CheckedRequest(csr: text, keyHash: sha256(key.x963Representation))
    }

    package func issue(_ request: CheckedRequest, instance: String, now: Date) throws -> IssuedCertificate {
        let key = try CertificateSigningRequest(pemEncoded: request.csr).publicKey
        let issued = try issue(
            key: key, name: instance, lifetime: Self.clientLifetime, now: now,
            extensions: Certificate.Extensions {
                Critical(BasicConstraints.notCertificateAuthority)
                Critical(KeyUsage(digitalSignature: true))
                try ExtendedKeyUsage([.clientAuth])
                SubjectAlternativeNames([.uniformResourceIdentifier(InstanceURI(instance).text)])
                AuthorityKeyIdentifier(keyIdentifier: try self.keyIdentifier)
            })
        return IssuedCertificate(
            pem: try issued.serializeAsPEM().pemString, serial: issued.serialNumber.hexadecimal,
            notBefore: issued.notValidBefore, notAfter: issued.notValidAfter)
    }

    package func verify(peer bytes: [UInt8], now: Date) throws -> VerifiedPeer {
        func refused(_ message: String) -> FleetError {
            FleetError(.unauthorized, message, remedy: "enrol the machine again with a new join token")
        }
        guard let peer = try? Certificate(derEncoded: bytes) else {
            throw refused("the client certificate cannot be read")
        }
        guard peer.issuer == certificate.subject, certificate.publicKey.isValidSignature(peer.signature, for: peer)
        else { throw refused("the client certificate is not one of this fleet") }
        guard peer.notValidBefore <= now else { throw refused("the client certificate is not valid yet") }
        guard now <= peer.notValidAfter else { throw refused("the client certificate has expired") }
        guard let usages = try? peer.extensions.extendedKeyUsage, Array(usages) == [.clientAuth] else {
            throw refused("the certificate is not one for clients")
        }
        guard let names = try? peer.extensions.subjectAlternativeNames, names.count == 1,
            case .uniformResourceIdentifier(let text)? = names.first, let uri = InstanceURI(text: text)
        else { throw refused("the client certificate names no instance") }
        guard let key = P256.Signing.PublicKey(peer.publicKey) else {
            throw refused("the client's key is no P-256 one")
        }
        return VerifiedPeer(
            agent: AgentIdentity(instance: uri.instance, serial: peer.serialNumber.hexadecimal),
            keyHash: sha256(key.x963Representation), issuedAt: peer.notValidBefore.addingTimeInterval(Self.backdating),
            expiresAt: peer.notValidAfter)
    }

    var keyIdentifier: ArraySlice<UInt8>? {
        get throws { try certificate.extensions.subjectKeyIdentifier?.keyIdentifier }
    }

    func issue(
        key: Certificate.PublicKey, name: String, lifetime: TimeInterval, now: Date, extensions: Certificate.Extensions
    ) throws -> Certificate {
        try Certificate(
            version: .v3, serialNumber: Self.randomSerial(), publicKey: key,
            notValidBefore: now.addingTimeInterval(-Self.backdating),
            notValidAfter: min(now.addingTimeInterval(lifetime), certificate.notValidAfter),
            issuer: certificate.subject, subject: try DistinguishedName { CommonName(name) },
            signatureAlgorithm: .ecdsaWithSHA256, extensions: extensions, issuerPrivateKey: self.key)
    }

    /// 127 random bits, positive, no leading zero byte.
    private static func randomSerial() -> Certificate.SerialNumber {
        var generator = SystemRandomNumberGenerator()
        var bytes = (0..<16).map { _ in UInt8.random(in: .min ... .max, using: &generator) }
        bytes[0] = bytes[0] & 0x7f | 0x40
        return Certificate.SerialNumber(bytes: bytes)
    }

    static func parse(_ text: String) throws -> (Certificate.PrivateKey, Certificate) {
        let documents = try PEMDocument.parseMultiple(pemString: text)
        guard documents.count == 2 else { throw FleetError.fault("\(documents.count) PEM documents") }
        return (try Certificate.PrivateKey(pemDocument: documents[0]), try Certificate(pemDocument: documents[1]))
    }
}

/// `natfleet://instance/ID`: an instance in a certificate.
struct InstanceURI {
    private static let prefix = "natfleet://instance/"
    let instance: String

    init(_ instance: String) { self.instance = instance }

    init?(text: String) {
        guard text.hasPrefix(Self.prefix), text.utf8.count > Self.prefix.utf8.count else { return nil }
        instance = String(text.dropFirst(Self.prefix.count))
    }

    var text: String { Self.prefix + instance }
}

extension Certificate.SerialNumber {
    var hexadecimal: String { ControllerCore.hexadecimal(bytes) }
}

extension Certificate {
    var der: [UInt8] {
        get throws {
            var serializer = DER.Serializer()
            try serializer.serialize(self)
            return serializer.serializedBytes
        }
    }
}
