// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: natfleet contributors

import ControllerCore
import ControllerPKI
import Crypto
import FleetModel
import Foundation
import SwiftASN1
import Testing
import X509

/// Certificates: whom the authority vouches for, and whom it turns away.
struct PKITests {
    private let now = Date(timeIntervalSince1970: 1_790_000_000)

    private func issue(_ authority: FleetAuthority, at date: Date) throws -> [UInt8] {
        let request = try authority.check(csr: try AgentKey().csr())
        return try der(try authority.issue(request, instance: "i-1", now: date).pem)
    }

    @Test func anAgentsCertificateSaysWhichInstanceItIsAndNothingElse() throws {
        let authority = try FleetAuthority.make(now: now)
        let bytes = try issue(authority, at: now)
        let certificate = try Certificate(derEncoded: bytes)
        #expect(
            try certificate.extensions.subjectAlternativeNames.map(Array.init)
                == [.uniformResourceIdentifier("natfleet://instance/i-1")])
        #expect(try certificate.extensions.extendedKeyUsage.map(Array.init) == [.clientAuth])
        #expect(try certificate.extensions.basicConstraints == .notCertificateAuthority)
        #expect(certificate.notValidAfter.timeIntervalSince(now) == 86_400)
        #expect(!certificate.subject.description.contains("somebody else"))
        let peer = try authority.verify(peer: bytes, now: now)
        #expect(peer.agent.instance == "i-1")
        #expect(peer.issuedAt == now && peer.expiresAt == certificate.notValidAfter)
    }

    @Test func serialsDoNotRepeat() throws {
        let authority = try FleetAuthority.make(now: now)
        let serials = try (0..<50).map { _ in
            try authority.verify(peer: try issue(authority, at: now), now: now).agent.serial
        }
        #expect(Set(serials).count == 50)
    }

    @Test func whoeverIsNotOneOfTheFleetIsTurnedAway() async throws {
        let authority = try FleetAuthority.make(now: now)
        let other = try FleetAuthority.make(now: now)
        let good = try issue(authority, at: now)
        var tampered = good
        tampered[tampered.count / 2] ^= 1
        let rows: [(String, [UInt8], Date, String)] = [
            ("another authority's", try issue(other, at: now), now, "not one of this fleet"),
            ("expired", good, now.addingTimeInterval(86_401), "expired"),
            ("of the future", good, now.addingTimeInterval(-3600), "not valid yet"),
            ("the authority itself", try der(authority.bundle[0]), now, "not one for clients"),
            ("garbage", [1, 2, 3], now, "cannot be read"),
            ("nothing", [], now, "cannot be read"),
        ]
        for (name, bytes, date, word) in rows {
            let error = try await failure { try authority.verify(peer: bytes, now: date) }
            #expect(error.code == .unauthorized && error.message.contains(word), "\(name): \(error)")
        }
        #expect(throws: FleetError.self) { try authority.verify(peer: tampered, now: now) }
    }

    @Test func theAuthorityIsMadeOnceAndADamagedOneIsNotReplaced() async throws {
        let path = temporaryPath()
        defer { try? FileManager.default.removeItem(atPath: path) }
        let folder = try DataFolder(path)
        let first = try FleetAuthority(in: folder, hasMembers: false, now: now)
        let second = try FleetAuthority(in: folder, hasMembers: false, now: now)
        #expect(first.bundle == second.bundle)
        #expect(try first.fingerprint == sha256(try der(first.bundle[0])))
        try folder.write("-----BEGIN", to: "pki/ca.pem")
        let error = try await failure { try FleetAuthority(in: folder, hasMembers: false, now: now) }
        #expect(error.message.contains("damaged") && error.remedy != nil)
    }

    @Test func aLostAuthorityIsNotReplacedWhereSomebodyTrustsIt() async throws {
        try await TestFleet.with { test in
            func open() async throws -> FleetAuthority {
                try FleetAuthority(in: test.folder, hasMembers: try await test.store.hasMembers(), now: now)
            }
            let lost = "\(test.path)/pki/ca.pem"
            // A first start that was cut short made an authority that nobody has seen.
            try FileManager.default.removeItem(atPath: lost)
            let first = try await open()
            #expect(try await open().bundle == first.bundle)
            try await test.enroll("i-1")
            try FileManager.default.removeItem(atPath: lost)
            let error = try await failure { try await open() }
            #expect(error.code == .notFound && error.message.contains(lost))
            #expect(error.remedy?.contains("backup") == true && !FileManager.default.fileExists(atPath: lost))
        }
    }

    @Test(arguments: [true, false]) func whoeverTrustsTheAuthorityIsAMember(_ isInstance: Bool) async throws {
        try await TestFleet.with { test in
            #expect(try await !test.store.hasMembers())
            if isInstance {
                try await test.enroll("i-1")
            } else {
                try await test.fleet.addOperator("ann", role: .viewer, secret: "secret")
            }
            #expect(try await test.store.hasMembers())
        }
    }

    @Test func theServerCertificateCarriesItsNamesAndIsMadeAgainWhenItMust() throws {
        let path = temporaryPath()
        defer { try? FileManager.default.removeItem(atPath: path) }
        let folder = try DataFolder(path)
        let authority = try FleetAuthority(in: folder, hasMembers: false, now: now)
        func identity(_ names: [String], _ days: Double = 0) throws -> ServerIdentity {
            try ServerIdentity(authority, names: names, in: folder, now: now.addingTimeInterval(days * 86_400))
        }
        let names = ["localhost", "127.0.0.1", "::1", "nat.example", "localhost"]
        let first = try identity(names)
        let certificate = try Certificate(pemEncoded: first.current.certificatePEM)
        #expect(
            try certificate.extensions.subjectAlternativeNames.map(Array.init) == [
                .dnsName("localhost"), .ipAddress(ASN1OctetString(contentBytes: [127, 0, 0, 1])),
                .ipAddress(ASN1OctetString(contentBytes: [UInt8](repeating: 0, count: 15)[...] + [1])),
                .dnsName("nat.example"),
            ])
        #expect(try certificate.extensions.extendedKeyUsage.map(Array.init) == [.serverAuth])
        // A server certificate is no client's.
        #expect(throws: FleetError.self) { try authority.verify(peer: try der(first.current.certificatePEM), now: now) }

        #expect(try identity(names).current == first.current)
        #expect(try identity(["localhost"]).current != first.current)
        let again = try identity(names)
        #expect(try again.renewIfDue(now: now.addingTimeInterval(19 * 86_400)) == false)
        let old = again.current
        #expect(try again.renewIfDue(now: now.addingTimeInterval(21 * 86_400)))
        #expect(again.current != old)
        #expect(try identity(names, 21).current == again.current)
    }
}
