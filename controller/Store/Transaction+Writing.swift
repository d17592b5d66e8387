// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: natfleet contributors

import ControllerCore
import FleetModel
import GRDB

extension Transaction: StoreWriting {
    func save(_ policy: PolicyRow) throws {
        try run(
            """
            INSERT INTO policy (name, current_revision, last_revision) VALUES ($1, $2, $3)
            ON CONFLICT (name) DO UPDATE
            SET current_revision = excluded.current_revision, last_revision = excluded.last_revision
            """,
            [policy.name, policy.currentRevision, policy.lastRevision])
    }

    func insert(_ revision: RevisionRow) throws {
        try run(
            """
            INSERT INTO policy_revision (policy, revision, hash, document, created_at, actor, message)
            VALUES ($1, $2, $3, $4, $5, $6, $7)
            """,
            [
                revision.policy, revision.revision, revision.hash, revision.document, revision.createdAt.milliseconds,
                revision.actor, revision.message,
            ])
    }

    func insert(_ instance: InstanceRow) throws {
        try run(
            """
            INSERT INTO instance (id, labels, state, cordoned, attempt, enrolled_at, last_seen)
            VALUES ($1, $2, $3, $4, $5, $6, $7)
            """,
            [
                instance.id, try text(instance.labels), instance.state.rawValue, instance.cordoned ? 1 : 0,
                instance.attempt, instance.enrolledAt.milliseconds, instance.lastSeen?.milliseconds,
            ])
    }

    func setLabels(_ labels: [String: String], instance: String) throws {
        try run("UPDATE instance SET labels = $1 WHERE id = $2", [try text(labels), instance])
    }

    func setCordoned(_ cordoned: Bool, instance: String) throws {
        try run("UPDATE instance SET cordoned = $1 WHERE id = $2", [cordoned ? 1 : 0, instance])
    }

    func setAttempt(_ attempt: Int, instance: String) throws {
        try run("UPDATE instance SET attempt = $1 WHERE id = $2", [attempt, instance])
    }

    func forget(instance: String) throws {
        try run("DELETE FROM instance_policy WHERE instance = $1", [instance])
        try run("DELETE FROM instance_status WHERE instance = $1", [instance])
        try run("DELETE FROM certificate WHERE instance = $1", [instance])
        try run("DELETE FROM instance WHERE id = $1", [instance])
    }

    func assign(_ rows: [AssignmentRow], instance: String) throws {
        try run("DELETE FROM instance_policy WHERE instance = $1", [instance])
        for row in rows {
            try run(
                "INSERT INTO instance_policy (instance, policy, revision) VALUES ($1, $2, $3)",
                [instance, row.policy, row.revision])
        }
    }

    func save(_ status: StatusRow) throws {
        try run(
            """
            INSERT INTO instance_status (instance, status, outcome, changed_at) VALUES ($1, $2, $3, $4)
            ON CONFLICT (instance) DO UPDATE
            SET status = excluded.status, outcome = excluded.outcome, changed_at = excluded.changed_at
            """,
            [
                status.instance, try text(status.status), try status.outcome.map { try text($0) },
                status.changedAt.milliseconds,
            ])
    }

    func recordSeen(_ times: [String: Timestamp]) throws {
        for (id, time) in times {
            try run(
                "UPDATE instance SET last_seen = $1 WHERE id = $2 AND (last_seen IS NULL OR last_seen < $1)",
                [time.milliseconds, id])
        }
    }

    func insert(_ certificate: CertificateRow) throws {
        try run(
            """
            INSERT INTO certificate (serial, instance, key_hash, state, issued_at, expires_at, join_token)
            VALUES ($1, $2, $3, $4, $5, $6, $7)
            """,
            [
                certificate.serial, certificate.instance, certificate.keyHash, certificate.state.rawValue,
                certificate.issuedAt.milliseconds, certificate.expiresAt.milliseconds, certificate.joinToken,
            ])
    }

    func setState(_ state: CertificateRow.State, serial: String) throws {
        try run("UPDATE certificate SET state = $1 WHERE serial = $2", [state.rawValue, serial])
    }

    func forgetCertificates(instance: String, endedBefore end: Timestamp) throws {
        try run("DELETE FROM certificate WHERE instance = $1 AND expires_at < $2", [instance, end.milliseconds])
    }

    func insert(_ token: JoinTokenRow) throws {
        try run(
            """
            INSERT INTO join_token (id, hash, instance, labels, uses_left, created_at, expires_at, revoked)
            VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
            """,
            [
                token.id, token.hash, token.instance, try text(token.labels), token.usesLeft,
                token.createdAt.milliseconds, token.expiresAt.milliseconds, token.revoked ? 1 : 0,
            ])
    }

    func consumeJoinToken(id: String, now: Timestamp) throws -> Bool {
        let changed = try run(
            """
            UPDATE join_token SET uses_left = uses_left - 1
            WHERE id = $1 AND uses_left > 0 AND revoked = 0 AND expires_at > $2
            """,
            [id, now.milliseconds])
        return changed == 1
    }

    func revokeJoinToken(id: String) throws -> Bool {
        try run("UPDATE join_token SET revoked = 1 WHERE id = $1 AND revoked = 0", [id]) == 1
    }

    func insert(_ token: OperatorTokenRow) throws {
        try run(
            "INSERT INTO operator_token (hash, name, role, created_at) VALUES ($1, $2, $3, $4)",
            [token.hash, token.name, token.role.rawValue, token.createdAt.milliseconds])
    }

    /// Two writers of an engine with several may pick one id; the loser's transaction fails whole and is tried again.
    func append(_ event: NewEvent) throws {
        try run(
            """
            INSERT INTO event (id, at, actor, kind, subject, detail)
            SELECT COALESCE(MAX(id), 0) + 1, $1, $2, $3, $4, $5 FROM event
            """,
            [event.at.milliseconds, event.actor, event.kind, event.subject, event.detail])
    }
}
