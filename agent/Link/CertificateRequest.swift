// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: natfleet contributors

import Crypto
import SwiftASN1

/// RFC 5758 §3.2
private let ecdsaWithSHA256: ASN1ObjectIdentifier = [1, 2, 840, 10045, 4, 3, 2]

/// A PKCS#10 request (RFC 2986) for a P-256 key. Its subject is a fixed word: the controller decides who the agent is.
func certificateRequest(for key: P256.Signing.PrivateKey) throws -> String {
    var info = DER.Serializer()
    try info.appendConstructedNode(identifier: .sequence) { node in
        try node.serialize(0)
        try node.appendConstructedNode(identifier: .sequence) { name in
            try name.appendConstructedNode(identifier: .set) { set in
                try set.appendConstructedNode(identifier: .sequence) { attribute in
                    try attribute.serialize(ASN1ObjectIdentifier.NameAttributes.commonName)
                    try attribute.serialize(ASN1UTF8String("natfleet-agent"))
                }
            }
        }
        try node.serialize(DER.parse(Array(key.publicKey.derRepresentation)))
        // attributes [0] IMPLICIT SET OF: there, and empty.
        node.appendConstructedNode(identifier: .init(tagWithNumber: 0, tagClass: .contextSpecific)) { _ in }
    }
    let signature = try key.signature(for: info.serializedBytes)

    var request = DER.Serializer()
    try request.appendConstructedNode(identifier: .sequence) { node in
        try node.serialize(DER.parse(info.serializedBytes))
        try node.appendConstructedNode(identifier: .sequence) { algorithm in
            try algorithm.serialize(ecdsaWithSHA256)
        }
        try node.serialize(ASN1BitString(bytes: ArraySlice(signature.derRepresentation)))
    }
    return PEMDocument(type: "CERTIFICATE REQUEST", derBytes: request.serializedBytes).pemString
}
