// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: natfleet contributors

package import FleetAPI
import FleetModel
import Logging
import NetAddress

extension Fleet {
    /// Makes a join token; its secret is in the answer and nowhere else.
    ///
    /// - Throws: `FleetError` badRequest.
    package func createToken(_ request: TokenRequest, by caller: OperatorIdentity) async throws -> TokenView {
        guard (1...10_000).contains(request.uses) else {
            throw FleetError(.badRequest, "\(request.uses) uses", remedy: "allow 1 to 10000 uses")
        }
        guard (1...366 * 86_400).contains(request.ttl) else {
            throw FleetError(
                .badRequest, "a token of \(request.ttl) seconds", remedy: "let it live 1 second to 366 days")
        }
        if let id = request.instanceID { try checkInstanceID(id) }
        try checkLabels(request.labels)
        if let key = request.labels.keys.first(where: { $0.hasPrefix("agent/") || $0.hasPrefix("aws/") }) {
            throw FleetError(
                .badRequest, "a token cannot grant label '\(key)'",
                remedy: "leave 'agent/' to what machines claim and 'aws/' to what AWS vouches for")
        }
        let now = self.now
        let secret = surroundings.secret(prefix: "nfj")
        let token = JoinTokenRow(
            id: surroundings.identifier(), hash: sha256(secret.utf8), instance: request.instanceID,
            labels: request.labels, usesLeft: request.uses, createdAt: now,
            expiresAt: Timestamp(milliseconds: now.milliseconds + Int64(request.ttl) * 1000))
        try await store.write { store in
            try store.insert(token)
            try store.append(
                NewEvent(
                    at: now, actor: caller.actor, kind: "token.created", subject: "token/\(token.id)",
                    detail: "\(request.uses) uses, \(request.ttl) s\(request.instanceID.map { ", for \($0)" } ?? "")"))
        }
        logger.info("join token made", metadata: ["token": "\(token.id)", "by": "\(caller.name)"])
        return token.view(secret: secret)
    }

    package func tokens() async throws -> [TokenView] {
        try await store.read { try $0.joinTokens() }.map { $0.view() }
    }

    /// Ends a token; machines that enrolled with it stay.
    ///
    /// - Throws: `FleetError` notFound.
    package func revokeToken(_ id: String, by caller: OperatorIdentity) async throws -> TokenView {
        let now = self.now
        let token = try await store.write { store in
            guard var token = try store.joinToken(id: id) else {
                throw FleetError(
                    .notFound, "there is no join token \(quoted(id))",
                    remedy: "choose one of `natfleet token list`, by its id")
            }
            if try store.revokeJoinToken(id: id) {
                try store.append(
                    NewEvent(
                        at: now, actor: caller.actor, kind: "token.revoked", subject: "token/\(id)", detail: ""))
            }
            token.revoked = true
            return token
        }
        return token.view()
    }
}

extension JoinTokenRow {
    func view(secret: String? = nil) -> TokenView {
        TokenView(
            id: id, secret: secret, instanceID: instance, labels: labels, usesLeft: usesLeft,
            createdAt: createdAt.date, expiresAt: expiresAt.date, revoked: revoked)
    }
}
