// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: natfleet contributors

package import NATPolicy
import NetAddress

extension HostFacts {
    /// These facts, with what was lost since `known` kept: lost facts never take rules away (DESIGN §5).
    ///
    /// A default route or an interface's addresses that are gone stay as they were; new and changed ones win. Each loss is a
    /// sentence.
    package func keepingLost(since known: HostFacts) -> (facts: HostFacts, lost: [String]) {
        var facts = self
        var lost: [String] = []
        for family in IPFamily.allCases {
            guard let was = known.defaultRoute(family) else { continue }
            if facts.defaultRoute(family) == nil {
                facts.routes.append(was)
                lost.append("the \(family.label) default route through \(was.interface) is gone")
            }
            let outside = facts.defaultRoute(family)?.interface ?? was.interface
            guard outside == was.interface, !facts.hasAddress(family, on: outside),
                known.hasAddress(family, on: outside)
            else { continue }
            let addresses = known.addresses(family, on: outside)
            if let index = facts.interfaces.firstIndex(where: { $0.name == outside }) {
                facts.interfaces[index].addresses += addresses
                lost.append("interface \(outside) has no \(family.label) address any more")
            } else {
                facts.interfaces.append(Interface(name: outside, addresses: addresses))
                lost.append("interface \(outside) is gone")
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
