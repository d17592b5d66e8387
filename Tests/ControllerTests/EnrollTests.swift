// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: natfleet contributors

import ControllerCore
import ControllerPKI
import ControllerStore
import Crypto
import FleetAPI
import FleetModel
import Foundation
import GRDB
import NATPolicy
import SwiftASN1
import Testing
import X509

/// Join tokens, names of instances, first certificates and renewals.
struct EnrollTests {
    @Test func aTokenOfOneUseLetsOneOfTwoIn() async throws {
        try await TestFleet.with { test in
            let token = try await test.token()
            let results = await withTaskGroup(of: Result<IssuedIdentity, any Error>.self) { group in
                for number in 0..<8 {
                    group.addTask {
                        do {
                            let request = EnrollRequest(
                                csr: try AgentKey().csr(), joinToken: token, instanceID: "m\(number)")
                            return .success(try await test.fleet.enroll(request))
                        } catch {
                            return .failure(error)
                        }
                    }
                }
                return await group.reduce(into: []) { $0.append($1) }
            }
            #expect(results.compactMap { try? $0.get() }.count == 1)
            let errors = results.compactMap { result -> FleetError? in
                guard case .failure(let error) = result else { return nil }
                return error as? FleetError
            }
            #expect(errors.count == 7)
            #expect(errors.allSatisfy { $0.code == .unauthorized && $0.message.contains("used up") })
            #expect(try await test.fleet.instances().count == 1)
        }
    }

    @Test func aTokenThatIsWrongExpiredOrRevokedIsRefusedAndSaysSo() async throws {
        try await TestFleet.with { test in
            let csr = try AgentKey().csr()
            func refusal(_ token: String) async throws -> FleetError {
                try await failure { try await test.fleet.enroll(EnrollRequest(csr: csr, joinToken: token)) }
            }
            let wrong = try await refusal("nfj_wrong")
            #expect(wrong.code == .unauthorized && wrong.message.contains("not known"))

            let revoked = try await test.fleet.createToken(TokenRequest(), by: TestFleet.admin)
            _ = try await test.fleet.revokeToken(revoked.id, by: TestFleet.admin)
            let second = try await refusal(try #require(revoked.secret))
            #expect(second.code == .unauthorized && second.message.contains("revoked"))

            let token = try await test.token()
            test.clock.advance(3600)
            let third = try await refusal(token)
            #expect(third.code == .unauthorized && third.message.contains("expired"))
            #expect(try await test.fleet.instances().isEmpty)
        }
    }

    @Test func aLostAnswerIsAnsweredAgainForTenMinutesAndTheSameKeyOnly() async throws {
        try await TestFleet.with { test in
            let token = try await test.token(for: "i-1")
            let request = EnrollRequest(csr: try AgentKey().csr(), joinToken: token)
            let first = try await test.fleet.enroll(request)
            test.clock.advance(9 * 60)
            let second = try await test.fleet.enroll(request)
            #expect(first.instanceID == second.instanceID)
            _ = try await test.fleet.authenticate(certificate: try der(second.certificate))
            let other = try await failure {
                try await test.fleet.enroll(EnrollRequest(csr: try AgentKey().csr(), joinToken: token))
            }
            #expect(other.code == .unauthorized)
            test.clock.advance(11 * 60)
            #expect(try await failure { try await test.fleet.enroll(request) }.code == .unauthorized)
        }
    }

    @Test(
        arguments: [
            (nil, "web-1", "ext-web-1"), (nil, "ext-web-1", "ext-web-1"), ("i-0abc", "web-1", "i-0abc"),
            ("i-0abc", nil, "i-0abc"),
        ] as [(String?, String?, String)])
    func theTokenNamesTheInstanceElseItIsExternal(token: String?, claim: String?, name: String) async throws {
        try await TestFleet.with { test in
            let secret = try await test.token(for: token)
            let request = EnrollRequest(csr: try AgentKey().csr(), joinToken: secret, instanceID: claim)
            #expect(try await test.fleet.enroll(request).instanceID == name)
        }
    }

    @Test func aMachineThatClaimsNothingGetsANameOfItsOwn() async throws {
        try await TestFleet.with { test in
            let token = try await test.token(uses: 2)
            let names = try await [
                test.fleet.enroll(EnrollRequest(csr: try AgentKey().csr(), joinToken: token)).instanceID,
                test.fleet.enroll(EnrollRequest(csr: try AgentKey().csr(), joinToken: token)).instanceID,
            ]
            #expect(Set(names).count == 2)
            #expect(names.allSatisfy { $0.hasPrefix("ext-") })
        }
    }

    @Test func aNameThatIsTakenIsRefusedWithoutTakingAUse() async throws {
        try await TestFleet.with { test in
            let token = try await test.token(uses: 2)
            func enroll() async throws -> IssuedIdentity {
                try await test.fleet.enroll(
                    EnrollRequest(csr: try AgentKey().csr(), joinToken: token, instanceID: "web-1"))
            }
            _ = try await enroll()
            let error = try await failure { try await enroll() }
            #expect(error.code == .conflict)
            #expect(try await test.fleet.tokens().first?.usesLeft == 1)
        }
    }

    @Test func aTokenForAnInstanceEnrolsItAgainAndEndsItsOldCertificate() async throws {
        try await TestFleet.with { test in
            let before = try await test.enroll("i-1", labels: ["vpc": "test"])
            try await test.apply(policy("web"))
            let after = try await test.enroll("i-1", labels: ["vpc": "prod"])
            #expect(before.serial != after.serial)
            let instance = try await test.fleet.instance("i-1")
            #expect(instance.labels == ["vpc": "prod"])
            #expect(instance.desiredLayers == [.init(policy: "web", revision: 1)])
            let row = try #require(try await test.store.read { try $0.certificate(serial: before.serial) })
            #expect(row.state == .superseded)
        }
    }

    @Test func labelsOfTheMachineAreMarkedAsSuch() async throws {
        try await TestFleet.with { test in
            let token = try await test.token(labels: ["vpc": "prod"])
            let request = EnrollRequest(
                csr: try AgentKey().csr(), joinToken: token, instanceID: "x", labels: ["vpc": "mine", "role": "nat"])
            _ = try await test.fleet.enroll(request)
            #expect(
                try await test.fleet.instance("ext-x").labels
                    == ["vpc": "prod", "agent/vpc": "mine", "agent/role": "nat"])
        }
    }

    @Test(arguments: [(122, true), (123, false)])
    func aClaimIsALabelWithItsMark(_ length: Int, _ isTaken: Bool) async throws {
        try await TestFleet.with { test in
            let key = String(repeating: "k", count: length)
            let request = EnrollRequest(
                csr: try AgentKey().csr(), joinToken: try await test.token(for: "i-1"), labels: [key: "1"])
            guard !isTaken else {
                _ = try await test.fleet.enroll(request)
                #expect(try await test.fleet.instance("i-1").labels == ["agent/\(key)": "1"])
                return
            }
            #expect(try await failure { try await test.fleet.enroll(request) }.code == .badRequest)
            #expect(try await test.fleet.instances().isEmpty)
        }
    }

    @Test(arguments: [
        TokenRequest(uses: 0), TokenRequest(uses: -1), TokenRequest(ttl: 0), TokenRequest(ttl: 400 * 86_400),
        TokenRequest(instanceID: "a b"), TokenRequest(instanceID: ""), TokenRequest(labels: ["a b": "c"]),
        TokenRequest(labels: ["a": "b\nc"]), TokenRequest(labels: ["agent/a": "b"]),
        TokenRequest(labels: ["aws/az": "b"]),
    ])
    func aTokenThatMakesNoSenseIsRefused(request: TokenRequest) async throws {
        try await TestFleet.with { test in
            let error = try await failure { try await test.fleet.createToken(request, by: TestFleet.admin) }
            #expect(error.code == .badRequest && error.remedy != nil)
            #expect(try await test.fleet.tokens().isEmpty)
        }
    }

    @Test func aRequestWithoutAGoodKeyIsRefusedAndTakesNoUse() async throws {
        try await TestFleet.with { test in
            let token = try await test.token()
            let p384 = try CertificateSigningRequest(
                version: .v1, subject: DistinguishedName {},
                privateKey: Certificate.PrivateKey(P384.Signing.PrivateKey()),
                attributes: CertificateSigningRequest.Attributes(), signatureAlgorithm: .ecdsaWithSHA384
            ).serializeAsPEM().pemString
            let good = try CertificateSigningRequest(pemEncoded: try AgentKey().csr())
            let forged = try CertificateSigningRequest(
                version: good.version, subject: good.subject, publicKey: try AgentKey().publicKey,
                attributes: good.attributes, signatureAlgorithm: good.signatureAlgorithm, signature: good.signature
            ).serializeAsPEM().pemString
            for csr in ["", "not PEM", p384, forged, test.authority.bundle[0]] {
                let error = try await failure {
                    try await test.fleet.enroll(EnrollRequest(csr: csr, joinToken: token))
                }
                #expect(error.code == .badRequest)
            }
            #expect(try await test.fleet.tokens().first?.usesLeft == 1)
        }
    }

    @Test func aBannedInstanceCanNeitherCallNorEnrolAgain() async throws {
        try await TestFleet.with { test in
            let token = try await test.token(for: "i-1")
            let issued = try await test.fleet.enroll(EnrollRequest(csr: try AgentKey().csr(), joinToken: token))
            let database = try DatabaseQueue(path: test.folder.path(of: "natfleet.db"))
            try await database.write { try $0.execute(sql: "UPDATE instance SET state = 'banned'") }
            let call = try await failure {
                try await test.fleet.authenticate(certificate: try der(issued.certificate))
            }
            #expect(call.code == .unauthorized)
            let again = try await test.token(for: "i-1")
            let error = try await failure {
                try await test.fleet.enroll(EnrollRequest(csr: try AgentKey().csr(), joinToken: again))
            }
            #expect(error.code == .forbidden)
        }
    }

    @Test func duringARenewalBothCertificatesAreGoodUntilTheNewOneIsUsed() async throws {
        try await TestFleet.with { test in
            let token = try await test.token(for: "i-1")
            let old = try der(
                try await test.fleet.enroll(EnrollRequest(csr: try AgentKey().csr(), joinToken: token)).certificate)
            let agent = try await test.fleet.authenticate(certificate: old)
            func renew() async throws -> [UInt8] {
                try der(try await test.fleet.renew(RenewRequest(csr: try AgentKey().csr()), by: agent).certificate)
            }
            let lost = try await renew()
            let new = try await renew()
            _ = try await test.fleet.authenticate(certificate: old)
            // A renewal whose answer got lost must not stay open.
            #expect(try await failure { try await test.fleet.authenticate(certificate: lost) }.code == .unauthorized)
            #expect(try await test.fleet.authenticate(certificate: new).instance == "i-1")
            #expect(try await failure { try await test.fleet.authenticate(certificate: old) }.code == .unauthorized)
            #expect(try await test.fleet.authenticate(certificate: new).instance == "i-1")
        }
    }
}

extension AgentKey {
    var publicKey: Certificate.PublicKey {
        get throws { Certificate.PublicKey(key.publicKey) }
    }
}
