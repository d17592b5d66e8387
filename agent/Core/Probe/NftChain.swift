// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: natfleet contributors

package import NetAddress

/// A chain of nftables that is attached to a hook, as the kernel lists it.
package struct NftChain: Hashable, Sendable {
    package enum Hook: Hashable, Sendable, CaseIterable {
        case forward
        case prerouting
        case postrouting
    }

    /// nil for `inet`, which is both.
    package var family: IPFamily?
    package var table: String
    package var name: String
    package var hook: Hook

    package init(family: IPFamily?, table: String, name: String, hook: Hook) {
        (self.family, self.table, self.name, self.hook) = (family, table, name, hook)
    }

    /// As nft names it: `inet firewalld filter_FORWARD`.
    package var description: String {
        let family =
            switch family {
            case .ipv4: "ip"
            case .ipv6: "ip6"
            case nil: "inet"
            }
        return "\(family) \(table) \(name)"
    }

    /// Those of iptables-nft are named like the hooks, in capitals.
    private var isShownByIptables: Bool { family != nil && name == "\(hook)".uppercased() }

    /// Chains that forwarded packets pass and that iptables does not show, such as firewalld's.
    ///
    /// - Returns: their names, those of the forward hook first.
    package static func passed(_ chains: [NftChain], _ family: IPFamily) -> [String] {
        let others = chains.filter { ($0.family ?? family) == family && !$0.isShownByIptables }
        return Hook.allCases.flatMap { hook in others.filter { $0.hook == hook }.map(\.description) }
    }
}

/// Chains of nftables that are attached to hooks of this network namespace.
package typealias NftChainList = @Sendable () throws(KernelError) -> [NftChain]
