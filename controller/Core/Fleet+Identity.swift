// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: natfleet contributors

import FleetModel
import Logging

extension Fleet {
    /// Who shows this certificate (DER), if it may do anything at all: signed by our CA, in its time, its serial known
    /// and accepted, its instance neither banned nor retired. The first use of a renewed certificate ends the old one.
    ///
    /// - Throws: `FleetError` unauthorized.
    package func authenticate(certificate: [UInt8]) async throws -> AgentIdentity {
        let peer = try authority.verify(peer: certificate, now: surroundings.now())
        let agent = peer.agent
        let state = try await store.read { store in
            try Self.isNewerThanTheStore(peer, in: store) ? nil : try Self.check(agent, in: store)
        }
        guard let state else { return try await readmit(peer) }
        guard state == .pending else { return agent }
        try await store.write { store in
            // Another connection may have been first, or a later renewal may have replaced it.
            guard try Self.check(agent, in: store) == .pending else { return }
            for old in try store.certificates(instance: agent.instance) where old.state == .active {
                try store.setState(.superseded, serial: old.serial)
            }
            try store.setState(.active, serial: agent.serial)
        }
        return agent
    }

    /// True after the database was restored from a backup, for a certificate that was issued since: nobody but this
    /// authority makes one, and it never hands one out before its row is stored. A forgotten instance is not readmitted,
    /// nor is a certificate that is older than one that the store knows.
    private static func isNewerThanTheStore(_ peer: VerifiedPeer, in store: any StoreReading) throws -> Bool {
        guard try store.certificate(serial: peer.agent.serial) == nil,
            try store.instance(peer.agent.instance)?.state == .active
        else { return false }
        let issued = Timestamp(peer.issuedAt)
        return try store.certificates(instance: peer.agent.instance).allSatisfy { $0.issuedAt < issued }
    }

    /// Takes a certificate that is newer than the store in; those before it end.
    private func readmit(_ peer: VerifiedPeer) async throws -> AgentIdentity {
        let agent = peer.agent
        let now = self.now
        try await store.write { store in
            guard try Self.isNewerThanTheStore(peer, in: store) else {
                _ = try Self.check(agent, in: store)
                return
            }
            for old in try store.certificates(instance: agent.instance) where [.active, .pending].contains(old.state) {
                try store.setState(.superseded, serial: old.serial)
            }
            try store.insert(
                CertificateRow(
                    serial: agent.serial, instance: agent.instance, keyHash: peer.keyHash, state: .active,
                    issuedAt: Timestamp(peer.issuedAt), expiresAt: Timestamp(peer.expiresAt), joinToken: nil))
            try store.append(
                NewEvent(
                    at: now, actor: "controller", kind: "instance.readmitted", subject: "instance/\(agent.instance)",
                    detail: "certificate \(agent.serial) was issued after the backup that was restored"))
        }
        logger.notice("instance readmitted", metadata: ["instance": "\(agent.instance)", "serial": "\(agent.serial)"])
        return agent
    }

    /// - Throws: `FleetError` unauthorized.
    static func check(_ agent: AgentIdentity, in store: any StoreReading) throws -> CertificateRow.State {
        let again = "enrol the machine again with a new join token"
        guard let row = try store.certificate(serial: agent.serial), row.instance == agent.instance else {
            throw FleetError(.unauthorized, "certificate \(agent.serial) is not known here", remedy: again)
        }
        switch row.state {
        case .active, .pending: break
        case .superseded:
            throw FleetError(.unauthorized, "certificate \(agent.serial) has a successor in use", remedy: again)
        case .revoked: throw FleetError(.unauthorized, "certificate \(agent.serial) is revoked", remedy: again)
        }
        guard let instance = try store.instance(agent.instance), instance.state == .active else {
            throw FleetError(
                .unauthorized, "instance \(agent.instance) may not change anything now", remedy: letBack(agent.instance)
            )
        }
        return row.state
    }

    /// What an operator does to let a banned or retired instance come again.
    static func letBack(_ id: String) -> String {
        "if it may come back: natfleet instance forget \(id), then natfleet token create --instance \(id)"
    }

    /// - Throws: `FleetError` unauthorized.
    package func authenticate(operatorToken secret: String) async throws -> OperatorIdentity {
        let hash = sha256(secret.utf8)
        guard let row = try await store.read({ try $0.operatorToken(hash: hash) }) else {
            throw FleetError(
                .unauthorized, "the operator token is not known here",
                remedy: "use the configuration that `natfleet serve` wrote: --config FILE or NATFLEET_CONFIG")
        }
        return OperatorIdentity(name: row.name, role: row.role)
    }

    /// Stores an operator token, hashed.
    package func addOperator(_ name: String, role: OperatorRole, secret: String) async throws {
        let now = self.now
        try await store.write { store in
            try store.insert(OperatorTokenRow(hash: sha256(secret.utf8), name: name, role: role, createdAt: now))
            try store.append(
                NewEvent(
                    at: now, actor: "controller", kind: "operator.created", subject: "operator/\(name)",
                    detail: role.rawValue))
        }
    }

    /// False until the first start has made the admin token.
    package func hasOperators() async throws -> Bool { try await store.read { try $0.hasOperatorTokens() } }
}
