// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: natfleet contributors

package import NetAddress

/// What the agent knows of its machine, gathered by the agent or written by hand for `natfleet render --facts`.
package struct HostFacts: Codable, Hashable, Sendable {
    package struct Interface: Codable, Hashable, Sendable {
        package var name: String
        /// Addresses in the kernel's order, primary first, link-local ones included.
        package var addresses: [Address]

        package init(name: String, addresses: [Address]) {
            self.name = name
            self.addresses = addresses
        }
    }

    /// An address on an interface; `prefixLength` is that of its on-link network.
    package struct Address: Codable, Hashable, Sendable {
        package var address: IPAddress
        package var prefixLength: Int

        package var network: CIDR { CIDR(address, prefixLength: prefixLength) }

        package init(_ address: IPAddress, prefixLength: Int) {
            self.address = address
            self.prefixLength = prefixLength
        }
    }

    /// An entry of the main routing table. The default route's destination is 0.0.0.0/0 or ::/0.
    package struct Route: Codable, Hashable, Sendable {
        package var destination: CIDR
        package var interface: String
        package var gateway: IPAddress?

        package init(destination: CIDR, interface: String, gateway: IPAddress? = nil) {
            self.destination = destination
            self.interface = interface
            self.gateway = gateway
        }
    }

    package struct Iptables: Codable, Hashable, Sendable {
        package enum Backend: String, Codable, Hashable, Sendable {
            case nft
            case legacy

            package var other: Backend { self == .nft ? .legacy : .nft }
        }

        package var backend: Backend
        /// As `iptables --version` prints it: `1.8.9`.
        package var version: String
        /// Chains of nat and filter that hold rules, or a policy other than ACCEPT, in the back end that `iptables` does
        /// not talk to: `IPv4 nat POSTROUTING`. nil where there are none.
        package var otherRules: [String]?

        package init(backend: Backend, version: String, otherRules: [String]? = nil) {
            self.backend = backend
            self.version = version
            self.otherRules = otherRules
        }
    }

    /// A public IPv4 address that the VPC maps to a private one of this instance.
    package struct PublicAddress: Codable, Hashable, Sendable {
        package var `public`: IPAddress
        package var `private`: IPAddress

        package init(public: IPAddress, private: IPAddress) {
            self.public = `public`
            self.private = `private`
        }
    }

    /// Without the loopback interface.
    package var interfaces: [Interface]
    /// Main table, both families, in the kernel's order of preference (lowest metric first).
    package var routes: [Route]
    package var iptables: Iptables
    /// Empty where nobody told: no IMDS and nothing configured.
    package var vpcCIDRs: [CIDR]
    package var publicAddresses: [PublicAddress]
    /// Where the agent reaches its controller: no port forward may take it.
    package var controller: [Endpoint]

    package init(
        interfaces: [Interface],
        routes: [Route],
        iptables: Iptables,
        vpcCIDRs: [CIDR] = [],
        publicAddresses: [PublicAddress] = [],
        controller: [Endpoint] = []
    ) {
        self.interfaces = interfaces
        self.routes = routes
        self.iptables = iptables
        self.vpcCIDRs = vpcCIDRs
        self.publicAddresses = publicAddresses
        self.controller = controller
    }

    /// The best default route of a family, nil where the family cannot leave the machine.
    package func defaultRoute(_ family: IPFamily) -> Route? {
        routes.first { $0.destination == .everything(family) }
    }
}
