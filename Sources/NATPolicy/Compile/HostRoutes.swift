// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: natfleet contributors

package import NetAddress

extension HostFacts {
    /// On one of its interfaces, or mapped to it by the VPC.
    package func has(_ address: IPAddress) -> Bool {
        interfaces.contains { $0.addresses.contains { $0.address == address } }
            || publicAddresses.contains { $0.public == address }
    }

    package func interface(named name: String) -> Interface? { interfaces.first { $0.name == name } }

    /// The first address of a family that others can answer to.
    func primaryAddress(_ family: IPFamily, on name: String) -> IPAddress? {
        interface(named: name)?.addresses.first {
            $0.address.family == family && !$0.address.isLinkLocal && !$0.address.isLoopback
        }?.address
    }

    package func vpcCIDRs(_ family: IPFamily) -> [CIDR] { vpcCIDRs.filter { $0.family == family } }

    /// The interface that packets to `address` leave by, nil where no route leads there.
    package func interface(towards address: IPAddress) -> String? {
        route(covering: CIDR(address, prefixLength: address.family.bits))?.interface
    }

    /// The interfaces that packets from these networks arrive on, since replies go back there: those of the routes
    /// into a part of a network, and that of the best route which covers all of it.
    func arrivals(from networks: [CIDR]) -> [String] {
        var found: [String] = []
        for network in networks {
            let inside = reachable.filter { network.contains($0.destination) }
            for route in inside + [route(covering: network)].compactMap(\.self) where !found.contains(route.interface) {
                found.append(route.interface)
            }
        }
        return found
    }

    private func route(covering network: CIDR) -> Route? {
        // The first of the longest, since the order is the kernel's preference.
        reachable.reduce(nil) { best, route in
            guard route.destination.contains(network) else { return best }
            return route.destination.prefixLength > best?.destination.prefixLength ?? -1 ? route : best
        }
    }

    /// The routes and the networks on link, without those that are never forwarded to.
    private var reachable: [Route] {
        let onLink = interfaces.flatMap { interface in
            interface.addresses.map { Route(destination: $0.network, interface: interface.name) }
        }
        return (routes + onLink).filter { route in
            let address = route.destination.address
            return route.destination.isEverything || !(address.isLinkLocal || address.isMulticast || address.isLoopback)
        }
    }

    /// Whether `--to-destination A:first-last/base` is read, printed and obeyed: measured on 1.8.9, absent from older ones.
    var shiftsPortRanges: Bool {
        let numbers = iptables.version.split(separator: ".").map { Int($0) ?? 0 }
        return !numbers.lexicographicallyPrecedes([1, 8, 9])
    }
}

/// The networks without repetitions and without those inside another one, in order of first mention.
func withoutOverlaps(_ networks: [CIDR]) -> [CIDR] {
    var result: [CIDR] = []
    for network in networks where !result.contains(where: { $0.contains(network) }) {
        result.removeAll { network.contains($0) }
        result.append(network)
    }
    return result
}
