// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: natfleet contributors

package import ControllerCore
import FleetModel
import GRDB

#if canImport(FoundationEssentials)
    import FoundationEssentials
#else
    import Foundation
#endif

/// The fleet's state in one SQLite file, the only place with SQL.
///
/// Goals: what `write` returned from survives SIGKILL and a power cut; reads never wait for writes; a second engine is
/// a driver and not a second set of queries.
/// Approach: WAL with one writer at `synchronous=FULL`; statements stay in the subset that SQLite 3.40 and PostgreSQL 15
/// share, with `$n` first appearing in ascending order (SQLite binds by first appearance); times are integers, labels
/// and documents JSON text.
/// Threading: GRDB serialises writes and gives each read a snapshot; this is a value around its pool.
package struct SQLiteStore: Store {
    private let pool: DatabasePool
    private let path: String

    /// Opens the file, makes it when it is missing, and brings its schema up to date.
    ///
    /// - Throws: `FleetError` internal for a damaged file or one of a newer natfleet, forbidden for one that cannot be
    ///   written.
    package init(path: String) throws {
        self.path = path
        do {
            var configuration = Configuration()
            configuration.label = "natfleet"
            configuration.foreignKeysEnabled = true
            configuration.busyMode = .timeout(5)
            pool = try DatabasePool(path: path, configuration: configuration)
            // GRDB sets NORMAL on the writer when it opens it, which may lose the last commits in a power cut.
            try pool.writeWithoutTransaction { try $0.execute(sql: "PRAGMA synchronous = FULL") }
            try Schema.bringUpToDate(pool, path: path)
        } catch let error as DatabaseError {
            throw Self.explain(error, path: path)
        }
    }

    package func read<Value: Sendable>(
        _ body: @escaping @Sendable (any StoreReading) throws -> Value
    ) async throws -> Value {
        try await explaining { try await pool.read { try body(Transaction(database: $0)) } }
    }

    package func write<Value: Sendable>(
        _ body: @escaping @Sendable (any StoreWriting) throws -> Value
    ) async throws -> Value {
        try await explaining { try await pool.write { try body(Transaction(database: $0)) } }
    }

    package var size: StoreSize {
        func bytes(_ path: String) -> Int {
            (try? FileManager.default.attributesOfItem(atPath: path)[.size] as? Int) ?? 0
        }
        return StoreSize(database: bytes(path), log: bytes("\(path)-wal"))
    }

    /// Empties the WAL into the file and closes it.
    package func close() throws {
        try pool.writeWithoutTransaction { _ = try $0.checkpoint(.truncate) }
        try pool.close()
    }

    /// Copies the database at a path, which another process may write to meanwhile, as it stood at one moment. Writers
    /// don't wait.
    ///
    /// - Throws: `FleetError`, as `init` does.
    package static func copy(_ path: String, to target: String) throws {
        do {
            var configuration = Configuration()
            configuration.label = "natfleet backup"
            configuration.readonly = true
            configuration.busyMode = .timeout(30)
            let source = try DatabaseQueue(path: path, configuration: configuration)
            try source.inDatabase { try $0.execute(sql: "VACUUM INTO $1", arguments: [target]) }
            try source.close()
            let copy = try DatabaseQueue(path: target, configuration: configuration)
            let fault = try copy.inDatabase { try String.fetchOne($0, sql: "PRAGMA integrity_check(1)") }
            guard fault == "ok" else { throw DatabaseError(resultCode: .SQLITE_CORRUPT, message: fault) }
            try copy.close()
        } catch let error as DatabaseError {
            throw explain(error, path: path)
        }
    }

    /// What the writer promises, as SQLite tells it: journal mode, and 2 for FULL.
    package func durability() throws -> (journal: String, synchronous: Int) {
        try pool.writeWithoutTransaction { database in
            (
                try String.fetchOne(database, sql: "PRAGMA journal_mode") ?? "",
                try Int.fetchOne(database, sql: "PRAGMA synchronous") ?? -1
            )
        }
    }

    private func explaining<Value>(_ body: () async throws -> Value) async throws -> Value {
        do {
            return try await body()
        } catch let error as DatabaseError {
            throw Self.explain(error, path: path)
        }
    }

    private static func explain(_ error: DatabaseError, path: String) -> FleetError {
        switch error.resultCode {
        case .SQLITE_CORRUPT, .SQLITE_NOTADB:
            FleetError(
                .internal, "the database \(path) is damaged: \(error.message ?? "\(error.resultCode)")",
                remedy: "put a backup in its place; agents keep their rules meanwhile")
        case .SQLITE_CANTOPEN, .SQLITE_READONLY, .SQLITE_PERM:
            FleetError(
                .forbidden, "the database \(path) cannot be written: \(error.message ?? "\(error.resultCode)")",
                remedy: "give the user that runs `natfleet serve` the data folder")
        case .SQLITE_FULL, .SQLITE_IOERR:
            FleetError(
                .unavailable, "the database \(path) cannot be written: \(error.message ?? "\(error.resultCode)")",
                remedy: "make room on the disk of the data folder")
        default: FleetError.fault("the database \(path): \(error)")
        }
    }
}
