// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: natfleet contributors

package import NetAddress

/// One direction of a tracked flow, as conntrack knows it.
package struct FlowTuple: Hashable, Sendable {
    /// What tells flows of one protocol between two addresses apart.
    package enum Detail: Hashable, Sendable {
        /// TCP, UDP and what else has ports; GRE's keys.
        case ports(source: UInt16, destination: UInt16)
        /// ICMP and ICMPv6; `id` is an echo's.
        case icmp(type: UInt8, code: UInt8, id: UInt16)
        /// Protocols that conntrack knows nothing of but the number.
        case none
    }

    package var source: IPAddress
    package var destination: IPAddress
    /// As in the IP header: 6 is TCP, 17 UDP, 1 ICMP, 58 ICMPv6.
    package var protocolNumber: UInt8
    package var detail: Detail

    package init(source: IPAddress, destination: IPAddress, protocolNumber: UInt8, detail: Detail) {
        self.source = source
        self.destination = destination
        self.protocolNumber = protocolNumber
        self.detail = detail
    }

    package var family: IPFamily { source.family }

    /// nil for protocols that no port forward carries.
    package var transport: TransportProtocol? {
        switch protocolNumber {
        case 6: .tcp
        case 17: .udp
        default: nil
        }
    }

    package var sourcePort: UInt16? {
        if case .ports(let source, _) = detail { source } else { nil }
    }

    package var destinationPort: UInt16? {
        if case .ports(_, let destination) = detail { destination } else { nil }
    }
}

/// `enum ip_conntrack_status` of linux/netfilter/nf_conntrack_common.h, the bits that mean something to us.
package struct FlowStatus: OptionSet, Hashable, Sendable {
    package let rawValue: UInt32

    package init(rawValue: UInt32) { self.rawValue = rawValue }

    /// Packets were seen both ways.
    package static let seenReply = FlowStatus(rawValue: 1 << 1)
    package static let assured = FlowStatus(rawValue: 1 << 2)
    package static let sourceTranslated = FlowStatus(rawValue: 1 << 4)
    package static let destinationTranslated = FlowStatus(rawValue: 1 << 5)
    package static let dying = FlowStatus(rawValue: 1 << 9)
}

/// An entry of the kernel's connection tracking table.
package struct TrackedFlow: Hashable, Sendable {
    /// As the first packet arrived.
    package var original: FlowTuple
    /// As an answer arrives: its source is where the flow really goes, its destination whom the other end sees.
    package var reply: FlowTuple
    package var status: FlowStatus
    package var mark: UInt32
    /// Zones are other people's: several tables in one. Ours is 0.
    package var zone: UInt16
    /// Zones of one direction only.
    package var originalZone: UInt16
    package var replyZone: UInt16
    /// Tells this entry from a later one with the same tuple, unless that took this one's very place in memory.
    package var id: UInt32
    /// Seconds until the entry goes when no packet comes.
    package var timeout: UInt32
    /// `enum tcp_conntrack` of linux/netfilter/nf_conntrack_tcp.h; nil for other protocols.
    package var tcpState: UInt8?

    /// TCP_CONNTRACK_ESTABLISHED: open both ways.
    package static let established: UInt8 = 3

    package init(
        original: FlowTuple,
        reply: FlowTuple,
        status: FlowStatus = [],
        mark: UInt32 = 0,
        zone: UInt16 = 0,
        originalZone: UInt16 = 0,
        replyZone: UInt16 = 0,
        id: UInt32 = 0,
        timeout: UInt32 = 0,
        tcpState: UInt8? = nil
    ) {
        self.original = original
        self.reply = reply
        self.status = status
        self.mark = mark
        self.zone = zone
        self.originalZone = originalZone
        self.replyZone = replyZone
        self.id = id
        self.timeout = timeout
        self.tcpState = tcpState
    }

    package var family: IPFamily { original.family }

    /// The other end sees another address than the first packet's source. A changed port alone is no translation: the
    /// kernel changes one without any rule where two flows would clash.
    package var isSourceTranslated: Bool { reply.destination != original.source }

    /// The flow goes to another address or port than the first packet was addressed to.
    package var isDestinationTranslated: Bool {
        reply.source != original.destination
            || (original.destinationPort != nil && reply.sourcePort != original.destinationPort)
    }

    package var isInAnyZone: Bool { zone != 0 || originalZone != 0 || replyZone != 0 }
}
