// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: natfleet contributors

package import NetAddress

#if canImport(FoundationEssentials)
    import FoundationEssentials
#else
    import Foundation
#endif

/// The veth pair between this host and the clients' namespace, as commands for `ip -batch` and as sysctls.
///
/// Both ends have one hardware address and no ARP: then the kernel takes the device's own address as the next hop's
/// (arp_constructor, ndisc_constructor), and neither ARP nor neighbour discovery takes place, which foreign INPUT rules
/// could break. Neither end has an address that this host would answer to, and IPv6 makes none. Routes to the clients come
/// and go with what they ask (`PrivateClient.addRoutes`): should one of their addresses be somebody's after all, that one is
/// cut off for milliseconds and not for as long as the agent runs.
package struct ProbeNetwork: Hashable, Sendable {
    private static let inside = "eth0"
    private static let hardware = "02:6e:61:74:66:6c"

    package let clients: [IPAddress]

    package init(clients: [IPAddress]) {
        self.clients = clients.reduce(into: []) { if !$0.contains($1) { $0.append($1) } }
    }

    private var device: String { ProbeInterface.name }

    private var families: [IPFamily] { IPFamily.allCases.filter { family in clients.contains { $0.family == family } } }

    /// On the host, before anything is up.
    /// - Parameter namespace: the path of the clients' namespace.
    package func creation(namespace: String) -> String {
        "link add \(device) address \(Self.hardware) arp off type veth "
            + "peer name \(Self.inside) address \(Self.hardware) arp off netns \(namespace)\n"
    }

    /// On the host, between `creation` and `hostSide`: values by path below /proc/sys.
    ///
    /// - Parameter isForwarding: of `net.ipv4.conf.all`. Later changes of that one reach every device by themselves.
    package func hostSysctls(isForwarding: String) -> [(path: String, value: String)] {
        let ipv4 = "net/ipv4/conf/\(device)", ipv6 = "net/ipv6/conf/\(device)"
        return [("\(ipv4)/rp_filter", "2"), ("\(ipv4)/forwarding", isForwarding)]
            + (families.contains(.ipv6) ? Self.quiet.map { ("\(ipv6)/\($0.key)", $0.value) } : [])
    }

    /// In the namespace, before `creation`: devices made later take them over.
    package var insideSysctls: [(path: String, value: String)] {
        [("net/ipv4/conf/all/rp_filter", "0"), ("net/ipv4/conf/default/rp_filter", "0")]
            + (families.contains(.ipv6) ? Self.quiet.map { ("net/ipv6/conf/default/\($0.key)", $0.value) } : [])
    }

    /// No address of its own making, no router solicitation, no waiting for duplicates.
    private static let quiet: [(key: String, value: String)] = [
        ("disable_ipv6", "0"), ("addr_gen_mode", "1"), ("accept_ra", "0"), ("autoconf", "0"), ("accept_dad", "0"),
    ]

    package var hostSide: String { lines(["link set \(device) up"]) }

    package var insideSide: String {
        lines(
            ["link set \(Self.inside) up"]
                + clients.map { client in
                    let nodad = client.family == .ipv6 ? " nodad" : ""
                    return "address add \(client)/\(client.family.bits) dev \(Self.inside)\(nodad)"
                } + families.map { "route replace \(CIDR.everything($0)) dev \(Self.inside)" })
    }

    private func lines(_ commands: [String]) -> String { commands.map { $0 + "\n" }.joined() }

    private struct Neighbour: Decodable {
        var dst: String
        var dev: String
        var lladdr: String?
    }

    /// Clients' addresses that a neighbour of this host has.
    ///
    /// - Parameter json: of `ip -json neighbor show`.
    package func taken(_ json: String) -> Set<IPAddress> {
        guard let neighbours = try? JSONDecoder().decode([Neighbour].self, from: Data(json.utf8)) else { return [] }
        let addresses = neighbours.filter { $0.dev != device && $0.lladdr != nil }.compactMap { try? IPAddress($0.dst) }
        return Set(clients).intersection(addresses)
    }
}
