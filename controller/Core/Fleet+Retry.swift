// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: natfleet contributors

package import FleetModel
import Logging
import NATPolicy
import NetAddress

extension Fleet {
    /// Has an instance try again, once and at once, what it refused or took back, or could not do. Nothing else changes:
    /// neither what it should run nor what others do.
    ///
    /// - Returns: the instance as it was when it was asked.
    /// - Throws: `FleetError` notFound; conflict when there is nothing that it could try again.
    package func retry(_ id: String, by caller: OperatorIdentity) async throws -> Instance {
        let now = self.now
        let instance = try await store.write { store in
            guard let row = try store.instance(id) else { throw noSuchInstance(id) }
            let instance = try self.asItStands(row, in: store)
            guard let failed = instance.failedTry else { throw nothingToRetry(instance) }
            try store.setAttempt(max(Int(now.milliseconds), row.attempt + 1), instance: id)
            try store.append(
                NewEvent(
                    at: now, actor: caller.actor, kind: "instance.retried", subject: "instance/\(id)",
                    detail: "\(failed.hash.prefix(12)), which it \(failed.result.past)"))
            return instance
        }
        hub.wake([id])
        logger.info("instance tries again", metadata: ["instance": "\(id)", "by": "\(caller.name)"])
        return instance
    }
}

private func nothingToRetry(_ instance: Instance) -> FleetError {
    let id = instance.id
    func error(_ why: String, _ remedy: String) -> FleetError {
        FleetError(.conflict, "instance \(quoted(id)) has nothing to try again: \(why)", remedy: remedy)
    }
    guard let desired = instance.desiredHash else {
        return error("its policies conflict", "change one of them: natfleet describe instance \(id)")
    }
    let running = instance.status?.runningHash
    if running == desired || running == nil && instance.desiredLayers.isEmpty {
        return error(
            "it runs what it should", "see what is wrong with it, if anything: natfleet describe instance \(id)")
    }
    return error(
        "it has not tried yet what it should run", "see it come with: natfleet get instance \(id) --watch")
}

extension Outcome.Result {
    /// What the instance did, behind "which it".
    fileprivate var past: String {
        switch self {
        case .applied: "applied"
        case .refused: "refused"
        case .failed: "failed to apply"
        case .reverted: "reverted"
        }
    }
}
