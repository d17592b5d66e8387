// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: natfleet contributors

import NetAddress

/// What an RTM_NEWNEIGH tells of one whose hardware address is known.
struct Neighbour {
    var interface: UInt32
    var address: IPAddress

    init?(_ payload: ArraySlice<UInt8>) {
        guard let number = payload.big(UInt8.self, at: 0), let interface = payload.native(UInt32.self, at: 4),
            let state = payload.native(UInt16.self, at: 8),
            let family = IPFamily.allCases.first(where: { $0.familyNumber == number }),
            // linux/neighbour.h: NUD_NOARP, as multicast and the host's own addresses have it.
            state & 0x40 == 0
        else { return nil }
        // NDA_DST and NDA_LLADDR.
        let attributes = Array(NetlinkAttributes(payload.dropFirst(NeighbourType.headerLength)))
        guard attributes.contains(where: { $0.type == 2 }),
            let address = attributes.first(where: { $0.type == 1 }).flatMap({ IPAddress(bytes: $0.payload, family) })
        else { return nil }
        (self.interface, self.address) = (interface, address)
    }
}

/// linux/rtnetlink.h: RTM_NEWNEIGH and RTM_GETNEIGH.
enum NeighbourType {
    static let new: UInt16 = 28
    static let get: UInt16 = 30
    /// `struct ndmsg` of linux/neighbour.h.
    static let headerLength = 12
}
