// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: natfleet contributors

import NATPolicy
import NetAddress

/// Where the host sends packets, for many flows at once.
struct FlowRoutes: Sendable {
    private let own: Set<IPAddress>
    /// The longest first, then in the kernel's order of preference.
    private let routes: [HostFacts.Route]

    init(_ facts: HostFacts, ownAddresses: [IPAddress]) {
        let addresses = facts.interfaces.flatMap(\.addresses)
        // The first and the last address of an on-link network are broadcasts, where it has more than two.
        let broadcasts = addresses.filter { $0.address.family == .ipv4 && $0.prefixLength < 31 }.flatMap { address in
            let hosts = UInt128(UInt32.max >> UInt32(address.prefixLength))
            let first = address.network.address
            return [first, IPAddress(family: .ipv4, bits: first.bits | hosts)]
        }
        own = Set(addresses.map(\.address) + ownAddresses + broadcasts)
        let onLink = facts.interfaces.flatMap { interface in
            interface.addresses.map { HostFacts.Route(destination: $0.network, interface: interface.name) }
        }
        routes = (onLink + facts.routes).enumerated().sorted {
            ($1.element.destination.prefixLength, $0.offset) < ($0.element.destination.prefixLength, $1.offset)
        }.map(\.element)
    }

    /// Whether packets from or to this address never pass through: the host's own, and those that end on a link.
    func keeps(_ address: IPAddress) -> Bool {
        own.contains(address) || address.isLoopback || address.isMulticast || address.isUnspecified
            || address.bits == UInt128(UInt32.max) && address.family == .ipv4
            || address.isLinkLocal && address.family == .ipv6
    }

    /// nil where no route leads there.
    func interface(towards address: IPAddress) -> String? {
        routes.first { $0.destination.contains(address) }?.interface
    }
}
