// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: natfleet contributors

package import NetAddress

/// Who uses this instance now, of the flows that the kernel tracks: sources of translated flows that were answered.
///
/// Without the probe's own clients, of this agent or of one before it: whoever sent a datagram to discard that nobody
/// answered, which is what the probe sends each half minute and the kernel remembers for as long.
package struct ClientsInUse: Sendable {
    /// Whom a policy would cut off has to be known, not each and every one.
    private static let limit = 4096

    private var sources: Set<IPAddress> = []
    private var probes: Set<IPAddress> = []

    package init() {}

    /// As the kernel knows them now; nobody where it does not say.
    init(in flows: any FlowTable) {
        var seen = Self()
        try? flows.forEach { seen.see($0) }
        self = seen
    }

    package var clients: Set<IPAddress> { sources.subtracting(probes) }

    package mutating func see(_ flow: TrackedFlow) {
        let isAnswered = flow.status.contains(.seenReply)
        if !isAnswered, flow.original.transport == .udp, flow.original.destinationPort == ProbePlan.datagramPort {
            probes.insert(flow.original.source)
        } else if isAnswered, flow.isSourceTranslated, sources.count < Self.limit {
            sources.insert(flow.original.source)
        }
    }
}
