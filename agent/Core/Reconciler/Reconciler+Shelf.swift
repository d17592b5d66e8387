// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: natfleet contributors

import FleetAPI
import FleetModel
import Logging
import NATPolicy

#if canImport(FoundationEssentials)
    import FoundationEssentials
#else
    import Foundation
#endif

/// Port forwards that nobody needs in memory before something moves.
struct ShelvedForwards {
    let count: Int
    let bytes: @Sendable () throws(StateFileError) -> [UInt8]
}

/// A policy of ten thousand port forwards takes more memory than the whole agent without one, and what is looked at while
/// nothing moves needs none of them: they wait in a file without a name, out of everybody's reach.
extension Reconciler {
    /// Once nothing moves any more: what the last change or repair needed is given back. More than once, since threads that have
    /// nothing to do for a while end, and let go of what they kept.
    func tidyUp() {
        guard trimsDue > 0, attempt == nil else { return }
        trimsDue -= 1
        shelve()
        forwards = nil
        machinery.trim()
    }

    private func shelve() {
        guard shelf == nil, let policy = applied?.desired.policy, policy.dnat.count >= machinery.manyForwards,
            let read = machinery.shelve(Array((forwards ?? ForwardsJSON(of: policy)).bytes))
        else { return }
        shelf = ShelvedForwards(count: policy.dnat.count, bytes: read)
        applied?.desired.policy.dnat = []
    }

    /// `applied` with all that it says; nil where nothing was applied, or where it is lost.
    func wholeApplied() -> AppliedState? {
        guard let shelf else { return applied }
        self.shelf = nil
        do {
            applied?.desired.policy.dnat = try WireJSON.decode(
                [EffectivePolicy.Layered<PortForward>].self, from: Data(try shelf.bytes()))
        } catch {
            // Rules without the port forwards would be another policy.
            applied = nil
            loadApplied()
        }
        return applied
    }

    func loadApplied() {
        do throws(StateFileError) {
            applied = try files.load(AppliedState.self, .applied)
        } catch {
            isReadable = false
            troubles[.disk] = [Condition(.notPersisted, "what was applied last is lost: \(error.description)")]
            log.error("what was applied last is lost", metadata: ["reason": "\(error.description)"])
        }
    }
}
