// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: natfleet contributors

import AgentCore
import NetAddress

/// A namespace behind a veth pair, with the addresses of clients and no rule.
struct PrivateClient: Sendable {
    let namespace: NetworkNamespace
    let network: ProbeNetwork
    /// Addresses that a neighbour has: not put on.
    let taken: Set<IPAddress>

    static func make(_ network: ProbeNetwork, _ programs: ProgramRunner) async throws(KernelError) -> PrivateClient {
        await delete(programs)
        let taken = network.taken(try await programs("ip", ["-json", "neighbor", "show"], ""))
        let free = ProbeNetwork(clients: network.clients.filter { !taken.contains($0) })
        let namespace = try await NetworkNamespace.make(sysctls: network.insideSysctls)
        _ = try await programs("ip", ["-batch", "-"], network.creation(namespace: namespace.path))
        let forwarding = sysctl("net/ipv4/conf/all/forwarding") ?? "0"
        for (path, value) in network.hostSysctls(isForwarding: forwarding) { try setSysctl(path, value) }
        _ = try await programs("ip", ["-batch", "-"], free.hostSide)
        _ = try await programs("nsenter", ["--net=\(namespace.path)", "ip", "-batch", "-"], free.insideSide)
        return PrivateClient(namespace: namespace, network: network, taken: taken)
    }

    /// Whoever made it: a predecessor's that was killed goes by itself, but not at once.
    static func delete(_ programs: ProgramRunner) async {
        guard sysctl("net/ipv4/conf/\(ProbeInterface.name)/rp_filter") != nil else { return }
        _ = try? await programs("ip", ["link", "delete", "dev", ProbeInterface.name], "")
    }
}
