// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: natfleet contributors

package import FleetAPI
import FleetModel
import Logging
import NATPolicy
import Synchronization

extension Fleet {
    /// How long the same key may enrol again with the same token without taking another use: the answer got lost.
    private static let lostAnswer: Int64 = 10 * 60 * 1000

    /// How long ended certificates are kept: 30 days, in which their keys may still vouch for their instance.
    private static let memory: Int64 = 30 * 86_400 * 1000

    /// The fleet CA's certificates, for anyone.
    package var caBundle: CABundle { CABundle(certificates: authority.bundle) }

    /// Turns a join token and a signing request into an instance and its first certificate.
    ///
    /// A token that names an instance makes that one (again: whoever made the token wanted it, and the certificates
    /// before end). Any other makes `ext-…` of what the machine calls itself, once.
    ///
    /// - Throws: `FleetError` unauthorized for a token that is wrong, used up, revoked or expired; badRequest; conflict
    ///   for a name that is taken; forbidden for a banned instance.
    package func enroll(_ request: EnrollRequest) async throws -> IssuedIdentity {
        let tokenHash = sha256(request.joinToken.utf8)
        // Strangers cost a read, not a turn of the writer or a signature.
        guard try await store.read({ try $0.joinToken(hash: tokenHash) }) != nil else { throw Self.unknownToken }
        let checked = try authority.check(csr: request.csr)
        let claims = Dictionary(uniqueKeysWithValues: request.labels.map { ("agent/\($0.key)", $0.value) })
        try checkLabels(claims)
        let fallback = surroundings.identifier()
        let (now, authority, layers, date) = (self.now, self.authority, self.layers, surroundings.now())

        let (id, certificate) = try await store.write { store in
            guard let token = try store.joinToken(hash: tokenHash) else { throw Self.unknownToken }
            let id = try token.instance ?? Self.claimedName(request.instanceID, fallback: fallback)
            let lost = try store.certificates(instance: id).contains {
                $0.keyHash == checked.keyHash && $0.joinToken == token.id && $0.state != .revoked
                    && now.milliseconds - $0.issuedAt.milliseconds < Self.lostAnswer
            }
            if !lost {
                guard try store.consumeJoinToken(id: token.id, now: now) else {
                    throw Self.refusal(of: token, now: now)
                }
            }
            var labels = token.labels.merging(claims) { granted, _ in granted }
            var isCordoned = false
            if let instance = try store.instance(id) {
                // What operators set outlives the machine's identity; what the machine claimed does not.
                labels.merge(instance.labels.filter { !$0.key.hasPrefix("agent/") }) { granted, _ in granted }
                guard instance.state == .active else {
                    throw FleetError(
                        .forbidden, "instance \(id) is \(instance.state.rawValue)", remedy: Self.letBack(id))
                }
                guard token.instance != nil || lost else {
                    throw FleetError(
                        .conflict, "an instance \(id) is enrolled already",
                        remedy: "make a token for it with `natfleet token create --instance \(id)`")
                }
                isCordoned = instance.cordoned
                try store.setLabels(labels, instance: id)
                for old in try store.certificates(instance: id) where old.state != .revoked {
                    try store.setState(.superseded, serial: old.serial)
                }
            } else {
                try store.insert(InstanceRow(id: id, labels: labels, state: .active, enrolledAt: now))
            }
            let certificate = try authority.issue(checked, instance: id, now: date)
            try store.insert(
                CertificateRow(
                    serial: certificate.serial, instance: id, keyHash: checked.keyHash, state: .active, issuedAt: now,
                    expiresAt: Timestamp(certificate.notAfter), joinToken: token.id))
            if !isCordoned {
                try store.assign(try Self.selecting(id, labels: labels, layers: layers, in: store), instance: id)
            }
            try store.append(
                NewEvent(
                    at: now, actor: "instance:\(id)", kind: "instance.enrolled", subject: "instance/\(id)",
                    detail: "with join token \(token.id)"))
            return (id, certificate)
        }
        hub.wake([id])
        tally.withLock { $0.certificates += 1 }
        logger.info("instance enrolled", metadata: ["instance": "\(id)", "serial": "\(certificate.serial)"])
        return IssuedIdentity(instanceID: id, certificate: certificate.pem, ca: authority.bundle)
    }

    /// A certificate for a new key. Both are good until the new one is first used.
    ///
    /// - Throws: `FleetError` badRequest.
    package func renew(_ request: RenewRequest, by agent: AgentIdentity) async throws -> IssuedIdentity {
        let checked = try authority.check(csr: request.csr)
        let (now, authority, date) = (self.now, self.authority, surroundings.now())
        let certificate = try await store.write { store in
            // A renewal whose answer got lost leaves a pending certificate that nobody has.
            for old in try store.certificates(instance: agent.instance) where old.state == .pending {
                try store.setState(.superseded, serial: old.serial)
            }
            try store.forgetCertificates(
                instance: agent.instance, endedBefore: Timestamp(milliseconds: now.milliseconds - Self.memory))
            let certificate = try authority.issue(checked, instance: agent.instance, now: date)
            try store.insert(
                CertificateRow(
                    serial: certificate.serial, instance: agent.instance, keyHash: checked.keyHash, state: .pending,
                    issuedAt: now, expiresAt: Timestamp(certificate.notAfter), joinToken: nil))
            return certificate
        }
        tally.withLock { $0.certificates += 1 }
        logger.info(
            "certificate renewed", metadata: ["instance": "\(agent.instance)", "serial": "\(certificate.serial)"])
        return IssuedIdentity(instanceID: agent.instance, certificate: certificate.pem, ca: authority.bundle)
    }

    private static let unknownToken = FleetError(
        .unauthorized, "the join token is not known here",
        remedy: "make one with `natfleet token create` and put it into the agent's configuration")

    private static func claimedName(_ claim: String?, fallback: String) throws -> String {
        guard let claim else { return "ext-\(fallback)" }
        let id = claim.hasPrefix("ext-") ? claim : "ext-\(claim)"
        try checkInstanceID(id)
        return id
    }

    private static func refusal(of token: JoinTokenRow, now: Timestamp) -> FleetError {
        let remedy = "make a new one with `natfleet token create` and put it into the agent's configuration"
        if token.revoked { return FleetError(.unauthorized, "join token \(token.id) was revoked", remedy: remedy) }
        if token.expiresAt <= now {
            return FleetError(.unauthorized, "join token \(token.id) has expired", remedy: remedy)
        }
        return FleetError(.unauthorized, "join token \(token.id) is used up", remedy: remedy)
    }

    /// The current revision of every policy that selects an instance.
    static func selecting(
        _ id: String, labels: [String: String], layers: LayerCache, in store: any StoreReading
    ) throws -> [AssignmentRow] {
        try store.policies().compactMap { policy in
            guard let revision = policy.currentRevision else { return nil }
            let document = try layers.document(.init(policy: policy.name, revision: revision), in: store)
            guard document.spec.selector.selects(instance: id, labels: labels) else { return nil }
            return AssignmentRow(instance: id, policy: policy.name, revision: revision)
        }
    }
}
