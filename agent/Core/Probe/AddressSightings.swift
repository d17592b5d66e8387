// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: natfleet contributors

package import NATPolicy
package import NetAddress

/// Which of some addresses are somebody's, as the tracked flows show: whoever has one sends from it or is sent to.
package struct AddressSightings: Sendable {
    private let addresses: Set<IPAddress>
    private let targets: Set<ProbeTarget>
    package private(set) var seen: Set<IPAddress> = []

    /// - Parameter targets: whom the probe asks, or asked not long ago: flows from one of the addresses to them are its own.
    package init(of addresses: Set<IPAddress>, asking targets: Set<ProbeTarget>) {
        (self.addresses, self.targets) = (addresses, targets)
    }

    package mutating func see(_ flow: TrackedFlow) {
        let ends = [flow.original.source, flow.original.destination, flow.reply.source].filter(addresses.contains)
        guard !ends.isEmpty, !(ends == [flow.original.source] && flow.isOfProbe(asking: targets)) else { return }
        seen.formUnion(ends)
    }
}
