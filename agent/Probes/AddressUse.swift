// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: natfleet contributors

import AgentCore
import NATPolicy
import NetAddress

/// Which addresses somebody has, as far as this host sees: neighbours on its links, and whoever's packets it tracks.
struct AddressUse: Sendable {
    let programs: ProgramRunner
    let flows: any FlowTable

    /// - Parameter targets: whom the probe asks, or asked not long ago.
    /// - Returns: how somebody is seen, to stand after the address.
    func seen(
        _ addresses: Set<IPAddress>, asking targets: Set<ProbeTarget>
    ) async throws(KernelError) -> [IPAddress: String] {
        let neighbours = try await programs("ip", ["-json", "neighbor", "show"], "")
        var seen: [IPAddress: String] = [:]
        try flows.forEach { flow in
            let ends = [flow.original.source, flow.original.destination, flow.reply.source].filter(addresses.contains)
            guard !ends.isEmpty, !(ends == [flow.original.source] && flow.isOfProbe(asking: targets)) else { return }
            for address in ends { seen[address] = "has connections through this host" }
        }
        for address in ProbeNetwork(clients: addresses.sorted()).taken(neighbours) {
            seen[address] = "is in the neighbour table"
        }
        return seen
    }
}
