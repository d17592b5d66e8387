// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: natfleet contributors

package import NATPolicy
package import NetAddress

/// Finds addresses that a client could have and that nobody has.
///
/// *Kept*: EC2 keeps the first four addresses and the last one of each subnet for itself (Amazon VPC User Guide, "Subnet
/// sizing"; the same in IPv6); network+1 is the router, +2 may be the resolver, +3 is never used. Which subnets there are is
/// no fact, but whichever holds the first address of a VPC begins with it, and a network on link, in the VPC or with a
/// router in it, is a subnet. So network+3 of those, where a masquerade has it among its sources.
///
/// *Guessed*: the last and the first address of a source. Where that is a subnet, or several, of EC2 or of anybody else, no
/// host has them: they are its broadcast and its network, or anycast addresses (RFC 4291, 2526). In a part of a subnet they
/// may be somebody's, so whoever takes one looks whether it is in use, again and again. A source smaller than EC2's smallest
/// subnet is made of hosts picked one by one: nothing is guessed there.
///
/// Where the VPC is known and all of a family's sources lie outside it and outside of what this host has routes to, the
/// client is taken from the VPC all the same: that is where clients are, and the kernel shows that they are not served.
package struct ClientAddresses {
    package struct Choice: Hashable, Sendable {
        /// Best first, at least one.
        package let clients: [ProbePlan.Client]
        /// nil for addresses that the masquerade covers.
        package let suspicion: String?
    }

    private static let limit = 8

    private let vpc: [CIDR]
    /// Networks that this host has an address in or a route to, which the default route is not.
    private let near: [CIDR]
    private let sources: [CIDR]
    /// Kept by EC2.
    private let kept: [IPAddress]
    /// Taken, as far as facts and policy tell.
    private let taken: Set<IPAddress>

    package init(_ family: IPFamily, _ masquerades: [CompiledMasquerade], policy: EffectivePolicy, facts: HostFacts) {
        vpc = facts.vpcCIDRs(family)
        let onLink = facts.onLink(family)
        near = onLink + facts.routes.map(\.destination).filter { $0.family == family && !$0.isEverything }
        sources = masquerades.flatMap(\.sources)
        kept = (vpc + facts.subnets(family)).filter(\.hasRoom).map { $0.address(at: 3) }
        var taken = facts.interfaces.flatMap { $0.addresses.map(\.address) }
        // Which the host answers to itself.
        taken += onLink.flatMap { [$0.address, $0.last] }
        taken += facts.routes.compactMap(\.gateway)
        taken += facts.publicAddresses.flatMap { [$0.public, $0.private] }
        taken += facts.controller.map(\.address)
        taken += policy.dnat.map(\.entry.to.address)
        self.taken = Set(taken)
    }

    /// nil where there is none.
    package func choice(for masquerade: CompiledMasquerade) -> Choice? {
        if isAside, let client = kept.first(where: { isFree($0) && isInVPC($0) }) {
            let list = sources.map(\.description).joined(separator: ", ")
            let networks = vpc.map(\.description).joined(separator: ", ")
            return Choice(
                clients: [ProbePlan.Client(address: client, isKept: true)],
                suspicion: "sources \(list) have nothing in common with the VPC, \(networks), nor with any route here")
        }
        let covered = kept.filter { address in masquerade.sources.contains { $0.contains(address) } }
        let guesses = masquerade.sources.filter { $0.hasRoom && !$0.isEverything }.flatMap(guesses)
        var clients: [ProbePlan.Client] = []
        for (address, isKept) in covered.map({ ($0, true) }) + guesses.map({ ($0, false) })
        where isFree(address) && !clients.contains(where: { $0.address == address }) {
            clients.append(ProbePlan.Client(address: address, isKept: isKept))
        }
        return clients.isEmpty ? nil : Choice(clients: Array(clients.prefix(Self.limit)), suspicion: nil)
    }

    /// No client that this host could know of is served.
    private var isAside: Bool {
        !vpc.isEmpty && !sources.contains { source in (vpc + near).contains { $0.overlaps(source) } }
    }

    private func guesses(in source: CIDR) -> [IPAddress] {
        let ends = [source.last, source.address]
        // In the VPC, where it begins a subnet.
        return vpc.contains { $0.contains(source) } ? ends + [source.address(at: 3)] : ends
    }

    private func isInVPC(_ address: IPAddress) -> Bool { vpc.contains { $0.contains(address) } }

    private func isFree(_ address: IPAddress) -> Bool {
        !address.isLoopback && !address.isLinkLocal && !address.isMulticast && !taken.contains(address)
    }
}

extension CIDR {
    /// As large as EC2's smallest subnet at least.
    fileprivate var hasRoom: Bool { prefixLength <= (family == .ipv4 ? 28 : 64) }

    fileprivate var last: IPAddress {
        let hosts = family.bits - prefixLength
        return address(at: hosts == 128 ? .max : (UInt128(1) << UInt128(hosts)) - 1)
    }

    fileprivate func address(at offset: UInt128) -> IPAddress {
        IPAddress(family: family, bits: address.bits | offset)
    }
}

extension HostFacts {
    /// The networks of this host's own addresses, without those that are never forwarded to.
    func onLink(_ family: IPFamily) -> [CIDR] {
        interfaces.flatMap(\.addresses).filter { $0.address.family == family && !$0.address.isLinkLocal }.map(\.network)
    }

    /// Those of them that others than this host are in charge of, unlike a bridge of its containers.
    fileprivate func subnets(_ family: IPFamily) -> [CIDR] {
        interfaces.filter { leadsToARouter($0.name) }
            .flatMap(\.addresses).filter { $0.address.family == family && !$0.address.isLinkLocal }.map(\.network)
            + onLink(family).filter { network in vpcCIDRs.contains { $0.contains(network) } }
    }

    /// Whether some route of either family leaves by an interface to a gateway: containers' bridges and tunnels have none.
    func leadsToARouter(_ interface: String) -> Bool {
        routes.contains { $0.interface == interface && $0.gateway != nil }
    }
}
