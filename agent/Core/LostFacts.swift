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
    /// A default route that is gone stays as it was, and so do the addresses of its interface, and of those that the policy
    /// names to masquerade on, where a family has none left; new and changed ones win.
    package func keepingLost(
        since known: HostFacts, by policy: EffectivePolicy = .none
    ) -> (facts: HostFacts, lost: [LostFact]) {
        var facts = self
        var lost: [LostFact] = []
        for family in IPFamily.allCases {
            var used = policy.namedInterfaces
            if let was = known.defaultRoute(family) {
                if facts.defaultRoute(family) == nil {
                    facts.routes.append(was)
                    lost.append(.route(family, was.interface))
                }
                if facts.defaultRoute(family)?.interface == was.interface { used.insert(was.interface) }
            }
            for name in used.sorted() {
                lost += facts.keepAddresses(family, of: name, since: known).map { [$0] } ?? []
            }
        }
        if facts.vpcCIDRs.isEmpty { facts.vpcCIDRs = known.vpcCIDRs }
        return (facts, lost)
    }

    private mutating func keepAddresses(
        _ family: IPFamily, of name: String, since known: HostFacts
    ) -> LostFact? {
        let addresses = known.addresses(family, on: name)
        guard !addresses.isEmpty, self.addresses(family, on: name).isEmpty else { return nil }
        guard let index = interfaces.firstIndex(where: { $0.name == name }) else {
            interfaces.append(Interface(name: name, addresses: addresses))
            return .interface(name)
        }
        interfaces[index].addresses += addresses
        return .address(family, name)
    }

    private func addresses(_ family: IPFamily, on interface: String) -> [Address] {
        interfaces.first { $0.name == interface }?.addresses
            .filter { $0.address.family == family && !$0.address.isLinkLocal } ?? []
    }
}

extension EffectivePolicy {
    fileprivate var namedInterfaces: Set<String> {
        Set(masquerade.compactMap { if case .named(let name) = $0.entry.interface { name } else { nil } })
    }
}
