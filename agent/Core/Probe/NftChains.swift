// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: natfleet contributors

package import NetAddress

#if canImport(FoundationEssentials)
    import FoundationEssentials
#else
    import Foundation
#endif

/// Chains of nftables that forwarded packets pass and that iptables does not show, such as firewalld's.
package enum NftChains {
    private struct Listing: Decodable {
        struct Item: Decodable { var chain: Chain? }

        struct Chain: Decodable {
            var family: String
            var table: String
            var name: String
            var hook: String?
        }

        var nftables: [Item]
    }

    private static let hooks = ["forward", "prerouting", "postrouting"]

    /// - Parameter json: of `nft -j list chains`.
    /// - Returns: `inet firewalld filter_FORWARD`, those of the forward hook first; empty for what cannot be read.
    package static func passed(_ json: String, _ family: IPFamily) -> [String] {
        guard let listing = try? JSONDecoder().decode(Listing.self, from: Data(json.utf8)) else { return [] }
        let families = ["inet", family == .ipv4 ? "ip" : "ip6"]
        let chains = listing.nftables.compactMap(\.chain).filter { chain in
            guard families.contains(chain.family), let hook = chain.hook, hooks.contains(hook) else { return false }
            // Those of iptables-nft are named like the hooks, in capitals.
            return chain.family == "inet" || chain.name != hook.uppercased()
        }
        return hooks.flatMap { hook in
            chains.filter { $0.hook == hook }.map { "\($0.family) \($0.table) \($0.name)" }
        }
    }
}
