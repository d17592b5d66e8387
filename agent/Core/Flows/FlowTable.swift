// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: natfleet contributors

/// The kernel's connection tracking table. Calls block for as long as the kernel takes: microseconds for one flow, or to look
/// at a few; to look at hundreds some milliseconds, since the kernel walks the whole hash table of all network namespaces, and a
/// fraction of a second with hundreds of thousands.
package protocol FlowTable: Sendable {
    /// Calls `body` for each flow of both families; where some come or go meanwhile, as many others may be missed or be shown
    /// twice.
    func forEach(_ body: (TrackedFlow) -> Void) throws(KernelError)
    /// The flow whose first packet had exactly this tuple, outside of all zones; nil where there is none.
    func lookup(_ original: FlowTuple) throws(KernelError) -> TrackedFlow?
    /// Ends one flow, by its exact tuple and its id, so that a later flow with the same tuple is not hit.
    /// - Returns: false where it was gone already.
    @discardableResult func delete(_ flow: TrackedFlow) throws(KernelError) -> Bool
    /// Ends each flow that `isStale` picks, and misses none that does not come or go meanwhile; while looking at them, so that
    /// memory does not grow with their number.
    /// - Returns: how many.
    @discardableResult func sweep(where isStale: (TrackedFlow) -> Bool) throws(KernelError) -> Int
}

/// What happened in the kernel that may concern us.
package enum NetworkEvent: Hashable, Sendable {
    /// A transaction on nf_tables was committed, ours included.
    case ruleset
    /// A program of iptables' legacy back end is done, ours included; or nobody can tell, once a minute.
    case lock
    /// A link, an address or a route came, changed or went.
    case network
    /// More happened than could be listened to: look at everything.
    case lost
}
