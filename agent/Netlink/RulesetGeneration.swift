// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: natfleet contributors

import AgentCore
import Glibc

/// The generation of the nf_tables ruleset of this network namespace: grows with each transaction that changes something,
/// whoever made it, and stays when it is read. A rule of ours can't have changed while it stays.
///
/// Costs one question to the kernel, microseconds. iptables-legacy doesn't touch it.
/// - Returns: nil where nf_tables is not there or may not be asked.
package func rulesetGeneration() -> UInt32? {
    guard var socket = try? NetlinkSocket(NetlinkNumber.netfilter),
        let answer = try? socket.request(
            NetfilterType.getGeneration, NetfilterType.header(familyNumber: 0)),
        answer.type == NetfilterType.newGeneration
    else { return nil }
    let attributes = NetlinkAttributes(answer.payload.dropFirst(NetfilterType.headerLength))
    return attributes.first { $0.type == NetfilterType.generationID }?.payload.big(UInt32.self)
}

/// Message types of linux/netfilter/nfnetlink.h: a subsystem and a number of its own.
enum NetfilterType {
    /// NFNL_SUBSYS_CTNETLINK; IPCTNL_MSG_CT_NEW, _GET, _DELETE and _GET_STATS_CPU of
    /// linux/netfilter/nfnetlink_conntrack.h.
    static let newFlow: UInt16 = 1 << 8 | 0
    static let getFlow: UInt16 = 1 << 8 | 1
    static let deleteFlow: UInt16 = 1 << 8 | 2
    static let getStatistics: UInt16 = 1 << 8 | 4
    /// NFNL_SUBSYS_NFTABLES; NFT_MSG_NEWCHAIN and NFT_MSG_GETCHAIN of linux/netfilter/nf_tables.h.
    static let newChain: UInt16 = 10 << 8 | 3
    static let getChain: UInt16 = 10 << 8 | 4
    /// NFNL_SUBSYS_NFTABLES; NFT_MSG_NEWGEN and NFT_MSG_GETGEN of linux/netfilter/nf_tables.h.
    static let newGeneration: UInt16 = 10 << 8 | 15
    static let getGeneration: UInt16 = 10 << 8 | 16
    /// linux/netfilter/nf_tables.h: NFTA_GEN_ID.
    static let generationID: UInt16 = 1
    /// linux/netfilter/nfnetlink.h: NFNLGRP_NFTABLES.
    static let rulesetGroup: Int32 = 7

    /// `struct nfgenmsg` of linux/netfilter/nfnetlink.h: family, version 0, resource 0.
    static let headerLength = 4

    static func header(familyNumber: UInt8) -> [UInt8] { [familyNumber, 0, 0, 0] }
}
