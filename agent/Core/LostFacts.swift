// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: natfleet contributors

package import FleetModel
package import NATPolicy
package import NetAddress

/// What rules rest on and the host has no more.
package enum LostFact: Hashable, Sendable {
    case route(IPFamily, String)
    case address(IPFamily, String)
    case interface(String)

    package var interface: String {
        switch self {
        case .route(_, let name), .address(_, let name), .interface(let name): name
        }
    }

    package var condition: Condition {
        switch self {
        case .route(let family, let interface):
            Condition(
                family == .ipv4 ? .ipv4RouteLost : .ipv6RouteLost,
                "the \(family.label) default route through \(interface) is gone", family: family)
        case .address(let family, let interface):
            Condition(
                .outsideAddressMissing, "interface \(interface) has no \(family.label) address any more", family: family
            )
        case .interface(let interface): Condition(.outsideInterfaceMissing, "interface \(interface) is gone")
        }
    }
}

extension HostFacts {
    /// These facts, with what was lost since `known` kept: lost facts never take rules away (DESIGN §5).
    ///
    /// A default route or an interface's addresses that are gone stay as they were; new and changed ones win.
    package func keepingLost(since known: HostFacts) -> (facts: HostFacts, lost: [LostFact]) {
        var facts = self
        var lost: [LostFact] = []
        for family in IPFamily.allCases {
            guard let was = known.defaultRoute(family) else { continue }
            if facts.defaultRoute(family) == nil {
                facts.routes.append(was)
                lost.append(.route(family, was.interface))
            }
            let outside = facts.defaultRoute(family)?.interface ?? was.interface
            guard outside == was.interface, !facts.hasAddress(family, on: outside),
                known.hasAddress(family, on: outside)
            else { continue }
            let addresses = known.addresses(family, on: outside)
            if let index = facts.interfaces.firstIndex(where: { $0.name == outside }) {
                facts.interfaces[index].addresses += addresses
                lost.append(.address(family, outside))
            } else {
                facts.interfaces.append(Interface(name: outside, addresses: addresses))
                lost.append(.interface(outside))
            }
        }
        if facts.vpcCIDRs.isEmpty { facts.vpcCIDRs = known.vpcCIDRs }
        return (facts, lost)
    }

    private func addresses(_ family: IPFamily, on interface: String) -> [Address] {
        interfaces.first { $0.name == interface }?.addresses
            .filter { $0.address.family == family && !$0.address.isLinkLocal } ?? []
    }

    private func hasAddress(_ family: IPFamily, on interface: String) -> Bool {
        !addresses(family, on: interface).isEmpty
    }
}
