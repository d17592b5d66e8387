// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: natfleet contributors

package import AgentCore
import Glibc
package import NetAddress

/// All addresses of the network namespace that the calling thread is in, those included that no policy asks about: of the
/// loopback interface, temporary and deprecated ones.
package func ownAddresses() throws(KernelError) -> [IPAddress] {
    var addresses: [IPAddress] = []
    do throws(NetlinkError) {
        var socket = try NetlinkSocket(NetlinkNumber.route)
        // struct ifaddrmsg of linux/if_addr.h; family 0 is all of them.
        try socket.dump(RouteType.getAddress, [UInt8](repeating: 0, count: RouteType.addressHeaderLength)) { message in
            guard message.type == RouteType.newAddress, let address = InterfaceAddress(message.payload) else { return }
            addresses.append(address.identity.address)
        }
    } catch {
        throw KernelError("reading the addresses of this host: \(error.text)")
    }
    return addresses
}

/// Message types of linux/rtnetlink.h.
enum RouteType {
    /// RTM_NEWADDR, RTM_DELADDR and RTM_GETADDR.
    static let newAddress: UInt16 = 20
    static let deletedAddress: UInt16 = 21
    static let getAddress: UInt16 = 22
    /// RTM_NEWROUTE and RTM_DELROUTE.
    static let newRoute: UInt16 = 24
    static let deletedRoute: UInt16 = 25
    /// RTA_OIF.
    static let outInterface: UInt16 = 4
    /// RTNLGRP_LINK, RTNLGRP_IPV4_IFADDR, RTNLGRP_IPV4_ROUTE, RTNLGRP_IPV6_IFADDR, RTNLGRP_IPV6_ROUTE.
    static let groups: [Int32] = [1, 5, 7, 9, 11]
    /// `struct ifaddrmsg` of linux/if_addr.h.
    static let addressHeaderLength = 8

    /// The interface that a route leads to; nil where it leads to several or none.
    static func interface(ofRoute payload: ArraySlice<UInt8>) -> UInt32? {
        // struct rtmsg of linux/rtnetlink.h.
        NetlinkAttributes(payload.dropFirst(12)).first { $0.type == outInterface }?.payload.native(UInt32.self, at: 0)
    }
}

/// What an RTM_NEWADDR or RTM_DELADDR tells.
struct InterfaceAddress {
    struct Identity: Hashable {
        var interface: UInt32
        var address: IPAddress
        var prefixLength: UInt8
    }

    var identity: Identity
    /// linux/if_addr.h: IFA_F_*, such as deprecated and tentative.
    var flags: UInt8

    init?(_ payload: ArraySlice<UInt8>) {
        guard let number = payload.big(UInt8.self, at: 0), let prefixLength = payload.big(UInt8.self, at: 1),
            let flags = payload.big(UInt8.self, at: 2), let interface = payload.native(UInt32.self, at: 4),
            let family = IPFamily.allCases.first(where: { $0.familyNumber == number })
        else { return nil }
        // linux/if_addr.h: IFA_ADDRESS and IFA_LOCAL. On a point-to-point link the former is the other end's.
        var (address, local): (IPAddress?, IPAddress?)
        for attribute in NetlinkAttributes(payload.dropFirst(RouteType.addressHeaderLength)) {
            if attribute.type == 1 { address = IPAddress(bytes: attribute.payload, family) }
            if attribute.type == 2 { local = IPAddress(bytes: attribute.payload, family) }
        }
        guard let own = local ?? address else { return nil }
        identity = Identity(interface: interface, address: own, prefixLength: prefixLength)
        self.flags = flags
    }
}

/// Tells new addresses from those whose lifetime only goes on, which the kernel announces at each router advertisement, and
/// passes over the probe's own routes, which come and go with each run.
struct KnownAddresses {
    private static let limit = 4096
    private var flags: [InterfaceAddress.Identity: UInt8] = [:]

    var count: Int { flags.count }

    /// Whether a message of rtnetlink says that something is not as it was.
    mutating func isNews(_ message: NetlinkMessage) -> Bool {
        if [RouteType.newRoute, RouteType.deletedRoute].contains(message.type) {
            let interface = RouteType.interface(ofRoute: message.payload)
            return interface == nil || interface != if_nametoindex(ProbeInterface.name)
        }
        guard [RouteType.newAddress, RouteType.deletedAddress].contains(message.type),
            let address = InterfaceAddress(message.payload)
        else { return true }
        if message.type == RouteType.deletedAddress {
            flags[address.identity] = nil
            return true
        }
        if flags.count > Self.limit { flags = [:] }
        return flags.updateValue(address.flags, forKey: address.identity) != address.flags
    }

    /// After messages were lost nothing is known for sure.
    mutating func forget() { flags = [:] }
}
