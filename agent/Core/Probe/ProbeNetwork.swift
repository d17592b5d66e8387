// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: natfleet contributors

package import NetAddress

/// The veth pair between this host and the clients' namespace.
///
/// Both ends have one hardware address and no ARP: then the kernel takes the device's own address as the next hop's
/// (arp_constructor, ndisc_constructor), and neither ARP nor neighbour discovery takes place, which foreign INPUT rules
/// could break. Neither end has an address that this host would answer to, and IPv6 makes none. Routes to the clients come
/// and go with what they ask (`PrivateClient.addRoutes`): should one of their addresses be somebody's after all, that one is
/// cut off for milliseconds and not for as long as the agent runs.
package struct ProbeNetwork: Hashable, Sendable {
    /// The end in the clients' namespace.
    package static let inside = "eth0"
    /// Locally administered, "natfl".
    package static let hardware: [UInt8] = [0x02, 0x6e, 0x61, 0x74, 0x66, 0x6c]

    package let clients: [IPAddress]

    package init(clients: [IPAddress]) {
        self.clients = clients.reduce(into: []) { if !$0.contains($1) { $0.append($1) } }
    }

    package var families: [IPFamily] { IPFamily.allCases.filter { family in clients.contains { $0.family == family } } }

    /// On the host, between making the pair and setting it up: values by path below /proc/sys.
    ///
    /// - Parameter isForwarding: of `net.ipv4.conf.all`. Later changes of that one reach every device by themselves.
    package func hostSysctls(isForwarding: String) -> [(path: String, value: String)] {
        let ipv4 = "net/ipv4/conf/\(ProbeInterface.name)", ipv6 = "net/ipv6/conf/\(ProbeInterface.name)"
        return [("\(ipv4)/rp_filter", "2"), ("\(ipv4)/forwarding", isForwarding)]
            + (families.contains(.ipv6) ? Self.quiet.map { ("\(ipv6)/\($0.key)", $0.value) } : [])
    }

    /// In the namespace, before there is any device: those made later take them over.
    package var insideSysctls: [(path: String, value: String)] {
        [("net/ipv4/conf/all/rp_filter", "0"), ("net/ipv4/conf/default/rp_filter", "0")]
            + (families.contains(.ipv6) ? Self.quiet.map { ("net/ipv6/conf/default/\($0.key)", $0.value) } : [])
    }

    /// No address of its own making, no router solicitation, no waiting for duplicates.
    private static let quiet: [(key: String, value: String)] = [
        ("disable_ipv6", "0"), ("addr_gen_mode", "1"), ("accept_ra", "0"), ("autoconf", "0"), ("accept_dad", "0"),
    ]
}
