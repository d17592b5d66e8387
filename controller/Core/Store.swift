// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: natfleet contributors

/// Where the fleet's state lives. Everything that `write` did is durable when it returns: a crash right after it loses
/// nothing. A closure that throws leaves no trace.
///
/// Several processes may share one store; a use-case that checks and then writes does both inside one `write`.
package protocol Store: Sendable {
    /// A consistent view; may run beside a write.
    func read<Value: Sendable>(_ body: @escaping @Sendable (any StoreReading) throws -> Value) async throws -> Value
    /// One transaction, alone.
    func write<Value: Sendable>(_ body: @escaping @Sendable (any StoreWriting) throws -> Value) async throws -> Value
    var size: StoreSize { get }
}

extension Store {
    /// Somebody trusts this fleet's authority already: there are instances or operators.
    package func hasMembers() async throws -> Bool {
        try await read { try $0.hasOperatorTokens() || !$0.instances().isEmpty }
    }
}

/// What the state takes on disk, in bytes.
package struct StoreSize: Hashable, Sendable {
    package var database: Int
    /// Written and not merged into the database yet.
    package var log: Int

    package init(database: Int, log: Int) {
        self.database = database
        self.log = log
    }
}

/// What can be asked inside a transaction. Lists come ordered by name or id unless it says otherwise.
package protocol StoreReading {
    func policy(_ name: String) throws -> PolicyRow?
    /// Deleted ones included.
    func policies() throws -> [PolicyRow]
    func revision(_ number: Int, of policy: String) throws -> RevisionRow?
    /// Newest first.
    func revisions(of policy: String) throws -> [RevisionRow]

    func instance(_ id: String) throws -> InstanceRow?
    func instances() throws -> [InstanceRow]
    /// What one instance should run.
    func assignments(instance: String) throws -> [AssignmentRow]
    func assignments(policy: String) throws -> [AssignmentRow]
    func assignments() throws -> [AssignmentRow]
    func status(instance: String) throws -> StatusRow?
    func statuses() throws -> [StatusRow]

    func certificate(serial: String) throws -> CertificateRow?
    func certificates(instance: String) throws -> [CertificateRow]
    /// The latest end of an accepted certificate, by instance.
    func certificateEnds() throws -> [String: Timestamp]

    func joinToken(hash: String) throws -> JoinTokenRow?
    func joinToken(id: String) throws -> JoinTokenRow?
    /// Newest first.
    func joinTokens() throws -> [JoinTokenRow]
    func operatorToken(hash: String) throws -> OperatorTokenRow?
    func hasOperatorTokens() throws -> Bool
    /// Newest first, not older than `since`.
    ///
    /// - Parameter actors: whose; nil for anyone's.
    func events(limit: Int, since: Timestamp, actors: Set<String>?) throws -> [EventRow]
}

/// What can be changed inside a transaction.
package protocol StoreWriting: StoreReading {
    func save(_ policy: PolicyRow) throws
    func insert(_ revision: RevisionRow) throws
    func insert(_ instance: InstanceRow) throws
    func setLabels(_ labels: [String: String], instance: String) throws
    func setCordoned(_ cordoned: Bool, instance: String) throws
    func setAttempt(_ attempt: Int, instance: String) throws
    /// Removes an instance with everything that belongs to it; its events stay.
    func forget(instance: String) throws
    /// Replaces all that the instance should run.
    func assign(_ rows: [AssignmentRow], instance: String) throws
    func save(_ status: StatusRow) throws
    /// Times only ever move forward; unknown ids are passed over.
    func recordSeen(_ times: [String: Timestamp]) throws

    func insert(_ certificate: CertificateRow) throws
    func setState(_ state: CertificateRow.State, serial: String) throws

    func forgetCertificates(instance: String, endedBefore end: Timestamp) throws

    func insert(_ token: JoinTokenRow) throws
    /// Takes one use in one statement; false when the token is used up, revoked or past its end.
    func consumeJoinToken(id: String, now: Timestamp) throws -> Bool
    /// False when it was revoked before.
    func revokeJoinToken(id: String) throws -> Bool
    func insert(_ token: OperatorTokenRow) throws
    /// Events are only ever added.
    func append(_ event: NewEvent) throws
}
