// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: natfleet contributors

import NetAddress

/// Networks that no port forward may touch, and that no client has.
enum Reserved {
    private struct Network {
        let network: CIDR
        let what: String

        init(_ family: IPFamily, _ bits: UInt128, _ length: Int, _ what: String) {
            self.network = CIDR(IPAddress(family: family, bits: bits), prefixLength: length)
            self.what = what
        }
    }

    /// The narrow ones first. The services' addresses are AWS's, the same in every VPC.
    private static let networks = [
        Network(.ipv4, 0xa9fe_a9fe, 32, "the instance metadata service"),
        Network(.ipv4, 0xa9fe_a9fd, 32, "the VPC's DNS resolver"),
        Network(.ipv4, 0xa9fe_a97b, 32, "the VPC's time service"),
        Network(.ipv4, 0xffff_ffff, 32, "the broadcast address"),
        Network(.ipv4, 0x0000_0000, 8, "unspecified"),
        Network(.ipv4, 0x7f00_0000, 8, "loopback"),
        Network(.ipv4, 0xa9fe_0000, 16, "link-local"),
        Network(.ipv4, 0xe000_0000, 4, "multicast"),
        Network(.ipv6, 0xfd00_0ec2 << 96 | 0x254, 128, "the instance metadata service"),
        Network(.ipv6, 0xfd00_0ec2 << 96 | 0x253, 128, "the VPC's DNS resolver"),
        Network(.ipv6, 0xfd00_0ec2 << 96 | 0x123, 128, "the VPC's time service"),
        Network(.ipv6, 0, 128, "unspecified"),
        Network(.ipv6, 1, 128, "loopback"),
        Network(.ipv6, 0xfe80 << 112, 10, "link-local"),
        Network(.ipv6, 0xff00 << 112, 8, "multicast"),
    ]

    /// What an address is reserved for; nil where it is not.
    static func use(of address: IPAddress) -> String? {
        networks.first { $0.network.contains(address) }?.what
    }

    /// What the whole of a network is reserved for. A network that merely covers a reserved one, such as 128.0.0.0/1,
    /// is the author's business.
    static func use(of network: CIDR) -> String? {
        networks.first { $0.network.contains(network) }?.what
    }
}
