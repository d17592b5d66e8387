// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: natfleet contributors

import ControllerCore
import FleetModel
import GRDB

extension PolicyRow {
    init(_ row: Row) {
        self.init(name: row["name"], currentRevision: row["current_revision"], lastRevision: row["last_revision"])
    }
}

extension RevisionRow {
    init(_ row: Row) {
        self.init(
            policy: row["policy"], revision: row["revision"], hash: row["hash"], document: row["document"],
            createdAt: Timestamp(milliseconds: row["created_at"]), actor: row["actor"], message: row["message"])
    }
}

extension InstanceRow {
    init(_ row: Row) throws {
        self.init(
            id: row["id"], labels: try value(row["labels"]), state: try word(row["state"]),
            cordoned: row["cordoned"] == 1, attempt: row["attempt"],
            enrolledAt: Timestamp(milliseconds: row["enrolled_at"]),
            lastSeen: (row["last_seen"] as Int64?).map(Timestamp.init(milliseconds:)))
    }
}

extension AssignmentRow {
    init(_ row: Row) { self.init(instance: row["instance"], policy: row["policy"], revision: row["revision"]) }
}

extension StatusRow {
    init(_ row: Row) throws {
        self.init(
            instance: row["instance"], status: try value(row["status"]),
            outcome: try (row["outcome"] as String?).map { try value($0) },
            changedAt: Timestamp(milliseconds: row["changed_at"]))
    }
}

extension CertificateRow {
    init(_ row: Row) throws {
        self.init(
            serial: row["serial"], instance: row["instance"], keyHash: row["key_hash"], state: try word(row["state"]),
            issuedAt: Timestamp(milliseconds: row["issued_at"]), expiresAt: Timestamp(milliseconds: row["expires_at"]),
            joinToken: row["join_token"])
    }
}

extension JoinTokenRow {
    init(_ row: Row) throws {
        self.init(
            id: row["id"], hash: row["hash"], instance: row["instance"], labels: try value(row["labels"]),
            usesLeft: row["uses_left"], createdAt: Timestamp(milliseconds: row["created_at"]),
            expiresAt: Timestamp(milliseconds: row["expires_at"]), revoked: row["revoked"] == 1)
    }
}

extension OperatorTokenRow {
    init(_ row: Row) throws {
        self.init(
            hash: row["hash"], name: row["name"], role: try word(row["role"]),
            createdAt: Timestamp(milliseconds: row["created_at"]))
    }
}

extension EventRow {
    init(_ row: Row) {
        self.init(
            id: row["id"],
            event: NewEvent(
                at: Timestamp(milliseconds: row["at"]), actor: row["actor"], kind: row["kind"],
                subject: row["subject"], detail: row["detail"]))
    }
}
