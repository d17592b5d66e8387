// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: natfleet contributors

package import AgentCore
import NetAddress

/// The chains of nftables that packets pass by a hook, of the network namespace that the calling thread is in: asked of the
/// kernel, since firewalld does without the program `nft`.
package func nftChains() throws(KernelError) -> [NftChain] {
    var chains: [NftChain] = []
    do throws(NetlinkError) {
        var socket = try NetlinkSocket(NetlinkNumber.netfilter)
        // Family 0 is all of them.
        try socket.dump(NetfilterType.getChain, NetfilterType.header(familyNumber: 0)) { message in
            guard message.type == NetfilterType.newChain, let chain = NftChain(message.payload),
                // A dump that was interrupted starts again.
                !chains.contains(chain)
            else { return }
            chains.append(chain)
        }
    } catch {
        throw KernelError("reading the chains of nftables: \(error.text)")
    }
    return chains
}

extension NftChain {
    /// Of an NFT_MSG_NEWCHAIN; nil for what forwarded IP packets do not meet.
    fileprivate init?(_ payload: ArraySlice<UInt8>) {
        let family: IPFamily?
        // linux/netfilter.h: NFPROTO_INET, NFPROTO_IPV4, NFPROTO_IPV6.
        switch payload.first {
        case 1: family = nil
        case 2: family = .ipv4
        case 10: family = .ipv6
        default: return nil
        }
        // linux/netfilter/nf_tables.h: NFTA_CHAIN_TABLE, NFTA_CHAIN_NAME, NFTA_CHAIN_HOOK, and in it NFTA_HOOK_HOOKNUM.
        var (table, name): (String?, String?)
        var number: UInt32?
        for attribute in NetlinkAttributes(payload.dropFirst(NetfilterType.headerLength)) {
            switch attribute.type {
            case 1: table = attribute.text
            case 3: name = attribute.text
            case 4: number = NetlinkAttributes(attribute.payload).first { $0.type == 1 }?.payload.big(UInt32.self)
            default: continue
            }
        }
        // linux/netfilter.h: NF_INET_PRE_ROUTING, NF_INET_FORWARD, NF_INET_POST_ROUTING.
        let hooks: [UInt32: Hook] = [0: .prerouting, 2: .forward, 4: .postrouting]
        guard let table, let name, let hook = number.flatMap({ hooks[$0] }) else { return nil }
        self.init(family: family, table: table, name: name, hook: hook)
    }
}

extension NetlinkAttribute {
    /// A string, which the kernel ends with a zero.
    fileprivate var text: String { String(decoding: payload.prefix { $0 != 0 }, as: UTF8.self) }
}
