// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: natfleet contributors

import AgentCore
import Crypto
import FleetAPI
import FleetModel
import SwiftASN1

#if canImport(FoundationEssentials)
    import FoundationEssentials
#else
    import Foundation
#endif

/// Who the agent is: its key, its certificate and the CA that it trusts, stored in one file.
struct Identity: Codable, Hashable, Sendable {
    var instanceID: String
    /// PKCS#8, PEM.
    var key: String
    var certificate: String
    /// PEM certificates of the fleet CA, the current one first.
    var ca: [String]
    /// SHA-256 of the join token that it came from, hexadecimal: tells whether the operator gave a new one since.
    var joinToken: String

    static func load(_ files: any StateFiles) throws -> Identity? {
        guard let bytes = try files.read(.identity) else { return nil }
        do {
            return try WireJSON.decode(Identity.self, from: Data(bytes))
        } catch {
            throw FleetError(
                .internal, "the identity in \(StateFile.identity.rawValue) of the state folder cannot be understood",
                remedy: "restore the file, or remove it and give the agent a new join token; NAT stays as it is")
        }
    }

    func save(_ files: any StateFiles) throws {
        try files.write(.identity, Array(WireJSON.encode(self)))
    }

    /// The certificate's validity, as seconds since 1970.
    func validity() throws -> (start: Double, end: Double) {
        try certificateValidity(Array(PEMDocument(pemString: certificate).derBytes))
    }
}

/// RFC 5280 §4.1: Certificate ::= SEQUENCE { tbs SEQUENCE { [0] version, serial, algorithm, issuer, validity, … } … }
func certificateValidity(_ der: [UInt8]) throws -> (start: Double, end: Double) {
    let root = try DER.parse(der)
    let tbs = try DER.sequence(root, identifier: .sequence) { nodes -> ASN1Node in
        let first = try next(&nodes)
        while nodes.next() != nil {}
        return first
    }
    return try DER.sequence(tbs, identifier: .sequence) { nodes in
        for _ in 0..<4 { _ = try next(&nodes) }
        let validity = try next(&nodes)
        while nodes.next() != nil {}
        return try DER.sequence(validity, identifier: .sequence) { times in
            (try time(next(&times)), try time(next(&times)))
        }
    }
}

private func next(_ nodes: inout ASN1NodeCollection.Iterator) throws -> ASN1Node {
    guard let node = nodes.next() else { throw StateFileError("the certificate ends too early") }
    return node
}

private func time(_ node: ASN1Node) throws -> Double {
    let parts: (Int, Int, Int, Int, Int, Int)
    if node.identifier == .utcTime {
        let value = try UTCTime(derEncoded: node)
        parts = (value.year, value.month, value.day, value.hours, value.minutes, value.seconds)
    } else {
        let value = try GeneralizedTime(derEncoded: node)
        parts = (value.year, value.month, value.day, value.hours, value.minutes, value.seconds)
    }
    var components = DateComponents()
    (components.year, components.month, components.day) = (parts.0, parts.1, parts.2)
    (components.hour, components.minute, components.second) = (parts.3, parts.4, parts.5)
    var calendar = Calendar(identifier: .gregorian)
    if let utc = TimeZone(secondsFromGMT: 0) { calendar.timeZone = utc }
    guard let date = calendar.date(from: components) else { throw StateFileError("the certificate has no dates") }
    return date.timeIntervalSince1970
}
