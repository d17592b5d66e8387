// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: natfleet contributors

import Crypto
import SwiftASN1
import Testing
import X509

@testable import AgentLink

#if canImport(FoundationEssentials)
    import FoundationEssentials
#else
    import Foundation
#endif

struct IdentityTests {
    @Test func theRequestIsAValidPKCS10() throws {
        let key = P256.Signing.PrivateKey()
        let request = try CertificateSigningRequest(pemEncoded: try certificateRequest(for: key))
        #expect(request.publicKey == Certificate.PublicKey(key.publicKey))
        #expect(request.publicKey.isValidSignature(request.signature, for: request))
    }

    @Test(arguments: [1_700_000_000.0, 2_600_000_000.0])
    func readsTheValidityOfACertificate(start: Double) throws {
        let key = Certificate.PrivateKey(P256.Signing.PrivateKey())
        let name = try DistinguishedName { CommonName("test") }
        let certificate = try Certificate(
            version: .v3, serialNumber: .init(), publicKey: key.publicKey,
            notValidBefore: Date(timeIntervalSince1970: start),
            notValidAfter: Date(timeIntervalSince1970: start + 86400),
            issuer: name, subject: name, signatureAlgorithm: .ecdsaWithSHA256, extensions: .init(),
            issuerPrivateKey: key)
        var serializer = DER.Serializer()
        try serializer.serialize(certificate)
        let validity = try certificateValidity(serializer.serializedBytes)
        #expect(validity.start == start)
        #expect(validity.end == start + 86400)
    }
}
