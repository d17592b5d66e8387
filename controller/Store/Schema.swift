// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: natfleet contributors

import FleetModel
import GRDB

/// The numbered migrations. A released one is never edited, moved or removed; a change is a new one.
enum Schema {
    static var migrator: DatabaseMigrator {
        var migrator = DatabaseMigrator()
        migrator.registerMigration("0001-spine") { try $0.execute(sql: spine) }
        migrator.registerMigration("0002-cordon") { try $0.execute(sql: cordon) }
        migrator.registerMigration("0003-attempt") { try $0.execute(sql: attempt) }
        return migrator
    }

    static func bringUpToDate(_ pool: DatabasePool, path: String) throws {
        let fault = try pool.read { try String.fetchOne($0, sql: "PRAGMA quick_check(1)") }
        guard fault == "ok" else {
            throw DatabaseError(resultCode: .SQLITE_CORRUPT, message: fault)
        }
        guard try !pool.read(migrator.hasBeenSuperseded) else {
            throw FleetError(
                .unsupported, "the database \(path) was written by a newer natfleet",
                remedy: "run that version, or put back a backup from before the upgrade")
        }
        try migrator.migrate(pool)
        // Readers that looked at the file before would prepare `SELECT *` by the schema that they saw, and find columns
        // missing when SQLite notices.
        pool.invalidateReadOnlyConnections()
    }

    private static let spine = """
        CREATE TABLE policy (
            name TEXT PRIMARY KEY CHECK (length(name) BETWEEN 1 AND 63),
            current_revision BIGINT,
            last_revision BIGINT NOT NULL CHECK (last_revision >= 1),
            FOREIGN KEY (name, current_revision) REFERENCES policy_revision (policy, revision)
        );
        CREATE TABLE policy_revision (
            policy TEXT NOT NULL REFERENCES policy (name),
            revision BIGINT NOT NULL CHECK (revision >= 1),
            hash TEXT NOT NULL CHECK (length(hash) = 64),
            document TEXT NOT NULL,
            created_at BIGINT NOT NULL,
            actor TEXT NOT NULL,
            message TEXT,
            PRIMARY KEY (policy, revision)
        );
        CREATE TABLE instance (
            id TEXT PRIMARY KEY CHECK (length(id) BETWEEN 1 AND 63),
            labels TEXT NOT NULL,
            state TEXT NOT NULL CHECK (state IN ('active', 'banned', 'retired')),
            enrolled_at BIGINT NOT NULL,
            last_seen BIGINT
        );
        CREATE TABLE instance_policy (
            instance TEXT NOT NULL REFERENCES instance (id),
            policy TEXT NOT NULL,
            revision BIGINT NOT NULL,
            PRIMARY KEY (instance, policy),
            FOREIGN KEY (policy, revision) REFERENCES policy_revision (policy, revision)
        );
        CREATE INDEX instance_policy_by_policy ON instance_policy (policy, revision);
        CREATE TABLE instance_status (
            instance TEXT PRIMARY KEY REFERENCES instance (id),
            status TEXT NOT NULL,
            outcome TEXT,
            changed_at BIGINT NOT NULL
        );
        CREATE TABLE join_token (
            id TEXT PRIMARY KEY,
            hash TEXT NOT NULL UNIQUE CHECK (length(hash) = 64),
            instance TEXT,
            labels TEXT NOT NULL,
            uses_left BIGINT NOT NULL CHECK (uses_left >= 0),
            created_at BIGINT NOT NULL,
            expires_at BIGINT NOT NULL,
            revoked BIGINT NOT NULL CHECK (revoked IN (0, 1))
        );
        CREATE TABLE certificate (
            serial TEXT PRIMARY KEY,
            instance TEXT NOT NULL REFERENCES instance (id),
            key_hash TEXT NOT NULL CHECK (length(key_hash) = 64),
            state TEXT NOT NULL CHECK (state IN ('active', 'pending', 'superseded', 'revoked')),
            issued_at BIGINT NOT NULL,
            expires_at BIGINT NOT NULL,
            join_token TEXT REFERENCES join_token (id)
        );
        CREATE INDEX certificate_by_instance ON certificate (instance);
        CREATE TABLE operator_token (
            hash TEXT PRIMARY KEY CHECK (length(hash) = 64),
            name TEXT NOT NULL UNIQUE,
            role TEXT NOT NULL CHECK (role IN ('viewer', 'operator', 'admin')),
            created_at BIGINT NOT NULL
        );
        CREATE TABLE event (
            id BIGINT PRIMARY KEY,
            at BIGINT NOT NULL,
            actor TEXT NOT NULL,
            kind TEXT NOT NULL,
            subject TEXT NOT NULL,
            detail TEXT NOT NULL
        );
        """

    private static let cordon = """
        ALTER TABLE instance ADD COLUMN cordoned BIGINT NOT NULL DEFAULT 0 CHECK (cordoned IN (0, 1));
        """

    private static let attempt = """
        ALTER TABLE instance ADD COLUMN attempt BIGINT NOT NULL DEFAULT 0 CHECK (attempt >= 0);
        """
}
