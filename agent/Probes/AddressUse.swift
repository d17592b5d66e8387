// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: natfleet contributors

import AgentCore
import NATPolicy
import NetAddress

/// Which addresses somebody has, as far as this host sees: neighbours on its links, and whoever's packets it tracks.
struct AddressUse: Sendable {
    let links: any Links
    let flows: any FlowTable

    /// - Parameters:
    ///   - targets: whom the probe asks, or asked not long ago.
    ///   - tracked: of the addresses those in tracked flows, where somebody has just looked.
    /// - Returns: how somebody is seen, to stand after the address.
    func seen(
        _ addresses: Set<IPAddress>, asking targets: Set<ProbeTarget>, tracked: Set<IPAddress>?
    ) throws(KernelError) -> [IPAddress: String] {
        let neighbours = try links.neighbours(except: ProbeInterface.name)
        let found = if let tracked { tracked } else { try self.tracked(addresses, targets) }
        var seen: [IPAddress: String] = [:]
        for address in found.intersection(addresses) { seen[address] = "has connections through this host" }
        for address in neighbours.intersection(addresses) { seen[address] = "is in the neighbour table" }
        return seen
    }

    private func tracked(
        _ addresses: Set<IPAddress>, _ targets: Set<ProbeTarget>
    ) throws(KernelError) -> Set<IPAddress> {
        var sightings = AddressSightings(of: addresses, asking: targets)
        try flows.forEach { sightings.see($0) }
        return sightings.seen
    }
}
