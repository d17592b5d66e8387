// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: natfleet contributors

package import NATPolicy
package import NetAddress

/// Finds an address that a client could have and that nobody has.
///
/// EC2 keeps the first four addresses of each subnet for itself: network+1 is the router, +2 may be the resolver, +3 is
/// never used (Amazon VPC User Guide, "Subnet sizing"; the same in IPv6). So network+3 of the VPC, of a network on link or of what a policy lists,
/// taken where they meet. Where the VPC is known and all of a family's sources lie outside it and outside of what this
/// host has routes to, the client is taken from the VPC all the same: that is where clients are, and the kernel shows
/// that they are not served.
package struct ClientAddresses {
    package struct Client: Hashable, Sendable {
        package let address: IPAddress
        /// nil for an address that the masquerade covers.
        package let suspicion: String?
    }

    private let vpc: [CIDR]
    /// Networks that this host has an address in or a route to, which the default route is not.
    private let near: [CIDR]
    private let sources: [CIDR]
    /// Taken, as far as facts and policy tell. The neighbour table is asked when the address is put on.
    private let taken: Set<IPAddress>

    package init(_ family: IPFamily, _ masquerades: [CompiledMasquerade], policy: EffectivePolicy, facts: HostFacts) {
        vpc = facts.vpcCIDRs(family)
        near = facts.onLink(family) + facts.routes.map(\.destination).filter { $0.family == family && !$0.isEverything }
        sources = masquerades.flatMap(\.sources)
        var taken = facts.interfaces.flatMap { $0.addresses.map(\.address) }
        taken += facts.routes.compactMap(\.gateway)
        taken += facts.publicAddresses.flatMap { [$0.public, $0.private] }
        taken += facts.controller.map(\.address)
        taken += policy.dnat.map(\.entry.to.address)
        self.taken = Set(taken)
    }

    package func client(of masquerade: CompiledMasquerade) -> Client? {
        if isAside, let address = vpc.lazy.compactMap(free).first {
            let list = sources.map(\.description).joined(separator: ", ")
            let networks = vpc.map(\.description).joined(separator: ", ")
            return Client(
                address: address,
                suspicion: "sources \(list) have nothing in common with the VPC, \(networks), nor with any route here")
        }
        return networks(of: masquerade).lazy.compactMap(free).first.map { Client(address: $0, suspicion: nil) }
    }

    /// No client that this host could know of is served.
    private var isAside: Bool {
        !vpc.isEmpty && !sources.contains { source in (vpc + near).contains { $0.overlaps(source) } }
    }

    /// Where to look, best first. In a network on link outside a known VPC, such as a bridge of containers, nothing is
    /// kept free.
    private func networks(of masquerade: CompiledMasquerade) -> [CIDR] {
        let homes = vpc.isEmpty ? near : vpc
        let shared = masquerade.sources.flatMap { source in
            homes.compactMap { $0.contains(source) ? source : source.contains($0) ? $0 : nil }
        }
        let far = masquerade.sources.filter { source in
            !source.isEverything && (vpc.isEmpty || !(vpc + near).contains { $0.overlaps(source) })
        }
        return shared + far
    }

    private func free(_ network: CIDR) -> IPAddress? {
        guard network.prefixLength <= network.family.bits - 3 else { return nil }
        let address = IPAddress(family: network.family, bits: network.address.bits + 3)
        guard !address.isLoopback, !address.isLinkLocal, !address.isMulticast else { return nil }
        return taken.contains(address) ? nil : address
    }
}

extension HostFacts {
    /// The networks of this host's own addresses, without those that are never forwarded to.
    func onLink(_ family: IPFamily) -> [CIDR] {
        interfaces.flatMap(\.addresses).filter { $0.address.family == family && !$0.address.isLinkLocal }.map(\.network)
    }
}
