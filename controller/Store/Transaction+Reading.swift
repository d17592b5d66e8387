// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: natfleet contributors

import ControllerCore
import FleetModel
import GRDB

extension Transaction: StoreReading {
    func policy(_ name: String) throws -> PolicyRow? {
        try row("SELECT * FROM policy WHERE name = $1", [name], PolicyRow.init)
    }

    func policies() throws -> [PolicyRow] { try rows("SELECT * FROM policy ORDER BY name", [], PolicyRow.init) }

    func revision(_ number: Int, of policy: String) throws -> RevisionRow? {
        try row(
            "SELECT * FROM policy_revision WHERE policy = $1 AND revision = $2", [policy, number], RevisionRow.init)
    }

    func revisions(of policy: String) throws -> [RevisionRow] {
        try rows(
            "SELECT * FROM policy_revision WHERE policy = $1 ORDER BY revision DESC", [policy], RevisionRow.init)
    }

    func instance(_ id: String) throws -> InstanceRow? {
        try row("SELECT * FROM instance WHERE id = $1", [id], InstanceRow.init)
    }

    func instances() throws -> [InstanceRow] { try rows("SELECT * FROM instance ORDER BY id", [], InstanceRow.init) }

    func assignments(instance: String) throws -> [AssignmentRow] {
        try rows("SELECT * FROM instance_policy WHERE instance = $1 ORDER BY policy", [instance], AssignmentRow.init)
    }

    func assignments(policy: String) throws -> [AssignmentRow] {
        try rows("SELECT * FROM instance_policy WHERE policy = $1 ORDER BY instance", [policy], AssignmentRow.init)
    }

    func assignments() throws -> [AssignmentRow] {
        try rows("SELECT * FROM instance_policy ORDER BY instance, policy", [], AssignmentRow.init)
    }

    func status(instance: String) throws -> StatusRow? {
        try row("SELECT * FROM instance_status WHERE instance = $1", [instance], StatusRow.init)
    }

    func statuses() throws -> [StatusRow] {
        try rows("SELECT * FROM instance_status ORDER BY instance", [], StatusRow.init)
    }

    func certificate(serial: String) throws -> CertificateRow? {
        try row("SELECT * FROM certificate WHERE serial = $1", [serial], CertificateRow.init)
    }

    func certificates(instance: String) throws -> [CertificateRow] {
        try rows("SELECT * FROM certificate WHERE instance = $1 ORDER BY serial", [instance], CertificateRow.init)
    }

    func certificateEnds() throws -> [String: Timestamp] {
        let ends = try rows(
            """
            SELECT instance, MAX(expires_at) AS ends FROM certificate
            WHERE state IN ('active', 'pending') GROUP BY instance
            """
        ) { ($0["instance"] as String, Timestamp(milliseconds: $0["ends"])) }
        return Dictionary(uniqueKeysWithValues: ends)
    }

    func joinToken(hash: String) throws -> JoinTokenRow? {
        try row("SELECT * FROM join_token WHERE hash = $1", [hash], JoinTokenRow.init)
    }

    func joinToken(id: String) throws -> JoinTokenRow? {
        try row("SELECT * FROM join_token WHERE id = $1", [id], JoinTokenRow.init)
    }

    func joinTokens() throws -> [JoinTokenRow] {
        try rows("SELECT * FROM join_token ORDER BY created_at DESC, id", [], JoinTokenRow.init)
    }

    func operatorToken(hash: String) throws -> OperatorTokenRow? {
        try row("SELECT * FROM operator_token WHERE hash = $1", [hash], OperatorTokenRow.init)
    }

    func hasOperatorTokens() throws -> Bool {
        try !rows("SELECT hash FROM operator_token LIMIT 1") { $0["hash"] as String }.isEmpty
    }

    func events(limit: Int, since: Timestamp, actors: Set<String>?) throws -> [EventRow] {
        guard let actors else {
            return try rows(
                "SELECT * FROM event WHERE at >= $1 ORDER BY id DESC LIMIT $2", [since.milliseconds, limit],
                EventRow.init)
        }
        let places = (0..<actors.count).map { "$\($0 + 2)" }.joined(separator: ", ")
        let values = [since.milliseconds] + actors.sorted() + [limit] as [any DatabaseValueConvertible]
        return try rows(
            """
            SELECT * FROM event WHERE at >= $1 AND actor IN (\(places))
            ORDER BY id DESC LIMIT $\(actors.count + 2)
            """, StatementArguments(values), EventRow.init)
    }
}
