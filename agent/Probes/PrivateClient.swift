// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: natfleet contributors

import AgentCore
import CGlibcCompat
import Glibc
import NetAddress

/// A namespace behind a veth pair, with the addresses of clients and no rule.
struct PrivateClient: Sendable {
    let namespace: NetworkNamespace
    /// Addresses to choose from, a list an entry of the plan that it was made for.
    let choices: [[ProbePlan.Client]]
    /// Those of them that somebody has, and how that is seen: not put on.
    private let inUse: [IPAddress: String]
    private let addresses: [IPAddress]

    /// - Parameter inUse: addresses that are not to be taken.
    static func make(
        _ plan: ProbePlan, not inUse: [IPAddress: String], _ links: any Links
    ) async throws(KernelError) -> PrivateClient {
        delete(links)
        let choices = plan.entries.map(\.clients)
        let network = ProbeNetwork(clients: choices.compactMap { chosen($0, not: inUse)?.address })
        let namespace = try await NetworkNamespace.make(sysctls: network.insideSysctls)
        try links.addPair(
            ProbeInterface.name, peer: ProbeNetwork.inside, in: namespace.descriptor, hardware: ProbeNetwork.hardware)
        var forwarding: String?
        // It may be turned on meanwhile.
        while let now = sysctl("net/ipv4/conf/all/forwarding"), now != forwarding {
            forwarding = now
            for (path, value) in network.hostSysctls(isForwarding: now) { try setSysctl(path, value) }
        }
        try links.setUp(ProbeInterface.name)
        try await namespace.run { () throws(KernelError) in
            try links.setUp(ProbeNetwork.inside)
            for address in network.clients { try links.add(address, to: ProbeNetwork.inside) }
            for family in network.families { try links.addDefaultRoute(family, by: ProbeNetwork.inside) }
        }
        return PrivateClient(namespace: namespace, choices: choices, inUse: inUse, addresses: network.clients)
    }

    /// Whoever made it: a predecessor's that was killed goes by itself, but not at once.
    static func delete(_ links: any Links) {
        guard sysctl("net/ipv4/conf/\(ProbeInterface.name)/rp_filter") != nil else { return }
        try? links.delete(ProbeInterface.name)
    }

    /// Addresses that it has and that may be somebody's after all.
    var guesses: Set<IPAddress> {
        Set(choices.compactMap { Self.chosen($0, not: inUse) }.filter { !$0.isKept }.map(\.address))
    }

    /// Addresses that it would rather have, and that somebody had.
    var missed: Set<IPAddress> {
        Set(choices.flatMap { $0.prefix { inUse[$0.address] != nil }.map(\.address) })
    }

    /// The address that an entry is asked from; nil where there is none.
    func address(for entry: ProbePlan.Entry) -> IPAddress? { Self.chosen(entry.clients, not: inUse)?.address }

    /// Why an entry cannot be asked for.
    func blocked(_ entry: ProbePlan.Entry) -> ProbeFinding {
        let why = entry.clients.map { "\($0.address) \(inUse[$0.address] ?? "")" }.joined(separator: ", ")
        return ProbeFinding(entry.family, entry.masquerade, all: .unknown("no address to ask from is nobody's: \(why)"))
    }

    /// From now on answers find the clients, until `removeRoutes`.
    func addRoutes() throws(KernelError) {
        for address in addresses where setRoute(address, true) != 0 {
            throw KernelError("a route to \(address) by \(ProbeInterface.name): \(text(errno))")
        }
    }

    func removeRoutes() { for address in addresses { _ = setRoute(address, false) } }

    private static func chosen(
        _ choice: [ProbePlan.Client], not inUse: [IPAddress: String]
    ) -> ProbePlan.Client? {
        choice.first { inUse[$0.address] == nil }
    }
}

private func setRoute(_ address: IPAddress, _ isWanted: Bool) -> Int32 {
    switch address.family {
    case .ipv4:
        var bits = UInt32(truncatingIfNeeded: address.bits).bigEndian
        return natfleet_host_route(isWanted ? 1 : 0, AF_INET, &bits, ProbeInterface.name)
    case .ipv6:
        var bits = address.bits.bigEndian
        return natfleet_host_route(isWanted ? 1 : 0, AF_INET6, &bits, ProbeInterface.name)
    }
}
