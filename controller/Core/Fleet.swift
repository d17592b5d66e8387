// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: natfleet contributors

package import FleetModel
package import Logging
package import NATPolicy
import Synchronization

#if canImport(FoundationEssentials)
    import FoundationEssentials
#else
    import Foundation
#endif

/// The controller's use-cases: what operators and agents may ask, decided over a store, a certificate authority and a
/// policy reader that are passed in.
///
/// Goals: what was acknowledged is stored; one call changes everything it names or nothing; a check-in costs a few
/// small reads and, unless something changed, no write.
/// Approach: each use-case is one extension file and does its checks and its writes in one store transaction. What an
/// instance should run is never stored as a document: it is a pure function of its `instance_policy` rows, whose
/// revisions never change, so the results can be cached for ever (`LayerCache`). Waiters are woken after the commit.
/// Threading: no actor. The store serialises writes; the little that lives in memory (hub, cache, last-seen times, what
/// a held agent was told) has a mutex each, held for a few instructions.
package final class Fleet: Sendable {
    let store: any Store
    let authority: any CertificateAuthority
    let reader: PolicyReader
    let surroundings: Surroundings
    let logger: Logger
    let layers = LayerCache()
    package let hub: Hub
    let tally = Mutex(Tally())
    let seen = Mutex<[String: Timestamp]>([:])
    /// The conflict that an instance was last told of, so that it hears of each once at once.
    let toldHold = Mutex<[String: String]>([:])

    package init(
        store: any Store,
        authority: any CertificateAuthority,
        reader: @escaping PolicyReader,
        surroundings: Surroundings = Surroundings(),
        logger: Logger
    ) {
        self.store = store
        self.authority = authority
        self.reader = reader
        self.surroundings = surroundings
        self.logger = logger
        self.hub = Hub(sleep: surroundings.sleep)
    }

    var now: Timestamp { Timestamp(surroundings.now()) }
}

/// Faults of policy documents, all at once: nothing was changed.
package struct PolicyFaults: Error, Hashable, Sendable {
    package let diagnostics: [Diagnostic]

    package init(_ diagnostics: [Diagnostic]) { self.diagnostics = diagnostics }

    package var error: FleetError {
        let count = diagnostics.count == 1 ? "1 fault" : "\(diagnostics.count) faults"
        return FleetError(
            .invalidPolicy, "\(count) in the policy documents; nothing was changed",
            remedy: "mend each of them and apply again")
    }
}
