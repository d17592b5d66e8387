// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: natfleet contributors

package import AgentCore
import Glibc
package import NetAddress

/// Devices, addresses and routes by rtnetlink(7), set as ip(8) sets them.
///
/// Needs CAP_NET_ADMIN, in the namespace of a pair's other end as well.
package struct NetlinkLinks: Links {
    package init() {}

    package func addPair(
        _ name: String, peer: String, in namespace: Int32, hardware: [UInt8]
    ) throws(KernelError) {
        var payload = end(name, hardware)
        payload.appendAttribute(LinkAttribute.info | NetlinkAttribute.nested) { info in
            info.appendAttribute(LinkAttribute.kind) { $0 += "veth".utf8 }
            info.appendAttribute(LinkAttribute.data | NetlinkAttribute.nested) { data in
                data.appendAttribute(LinkAttribute.vethPeer | NetlinkAttribute.nested) { other in
                    other += end(peer, hardware)
                    other.appendAttribute(LinkAttribute.namespace) { $0.append(native: namespace) }
                }
            }
        }
        try change("adding the veth pair \(name)", LinkType.newLink, payload, [.create, .exclusive])
    }

    package func setUp(_ name: String) throws(KernelError) {
        let payload = linkHeader(LinkFlags.up) + nameAttribute(name)
        try change("setting \(name) up", LinkType.setLink, payload, [])
    }

    package func delete(_ name: String) throws(KernelError) {
        try change("deleting \(name)", LinkType.deleteLink, linkHeader(0) + nameAttribute(name), [])
    }

    package func add(_ address: IPAddress, to name: String) throws(KernelError) {
        let family = address.family
        // struct ifaddrmsg of linux/if_addr.h: family, prefix length, IFA_F_NODAD, scope, interface.
        var payload: [UInt8] = [family.familyNumber, UInt8(family.bits), family == .ipv6 ? 2 : 0, 0]
        payload.append(native: if_nametoindex(name))
        // IFA_LOCAL and IFA_ADDRESS.
        for attribute: UInt16 in [2, 1] { payload.appendAttribute(attribute, address) }
        try change("adding \(address) to \(name)", RouteType.newAddress, payload, [.create, .replace])
    }

    package func addDefaultRoute(_ family: IPFamily, by name: String) throws(KernelError) {
        // struct rtmsg of linux/rtnetlink.h: family, lengths of destination and source, TOS, RT_TABLE_MAIN, RTPROT_BOOT,
        // RT_SCOPE_LINK where there are scopes, RTN_UNICAST, flags.
        var payload: [UInt8] = [family.familyNumber, 0, 0, 0, 254, 3, family == .ipv4 ? 253 : 0, 1, 0, 0, 0, 0]
        payload.appendAttribute(RouteType.outInterface) { $0.append(native: if_nametoindex(name)) }
        try change("adding a route by \(name)", RouteType.newRoute, payload, [.create, .replace])
    }

    package func neighbours(except device: String) throws(KernelError) -> Set<IPAddress> {
        let own = if_nametoindex(device)
        var addresses: Set<IPAddress> = []
        do throws(NetlinkError) {
            var socket = try NetlinkSocket(NetlinkNumber.route)
            // struct ndmsg of linux/neighbour.h; family 0 is all of them.
            try socket.dump(NeighbourType.get, [UInt8](repeating: 0, count: NeighbourType.headerLength)) { message in
                guard message.type == NeighbourType.new, let neighbour = Neighbour(message.payload),
                    neighbour.interface != own
                else { return }
                addresses.insert(neighbour.address)
            }
        } catch {
            throw KernelError("reading the neighbours of this host: \(error.text)")
        }
        return addresses
    }

    private func end(_ name: String, _ hardware: [UInt8]) -> [UInt8] {
        var bytes = linkHeader(LinkFlags.noARP) + nameAttribute(name)
        bytes.appendAttribute(LinkAttribute.address) { $0 += hardware }
        return bytes
    }

    private func change(
        _ what: String, _ type: UInt16, _ payload: [UInt8], _ flags: MessageFlags
    ) throws(KernelError) {
        do throws(NetlinkError) {
            var socket = try NetlinkSocket(NetlinkNumber.route)
            _ = try socket.request(type, payload, flags.union(.acknowledge))
        } catch {
            throw KernelError("\(what): \(error.text)")
        }
    }
}

/// `struct ifinfomsg` of linux/rtnetlink.h: family, padding, type, index, flags, which flags to change.
private func linkHeader(_ flags: UInt32) -> [UInt8] {
    var bytes = [UInt8](repeating: 0, count: 8)
    bytes.append(native: flags)
    bytes.append(native: flags)
    return bytes
}

private func nameAttribute(_ name: String) -> [UInt8] {
    var bytes: [UInt8] = []
    bytes.appendAttribute(LinkAttribute.name) { $0 += name.utf8 + [0] }
    return bytes
}

/// Message types of linux/rtnetlink.h.
private enum LinkType {
    static let newLink: UInt16 = 16
    static let deleteLink: UInt16 = 17
    static let setLink: UInt16 = 19
}

/// linux/if.h: IFF_UP and IFF_NOARP.
private enum LinkFlags {
    static let up: UInt32 = 0x1
    static let noARP: UInt32 = 0x80
}

/// linux/if_link.h: IFLA_*, and linux/veth.h: VETH_INFO_PEER.
private enum LinkAttribute {
    static let address: UInt16 = 1
    static let name: UInt16 = 3
    static let info: UInt16 = 18
    static let kind: UInt16 = 1
    static let data: UInt16 = 2
    static let namespace: UInt16 = 28
    static let vethPeer: UInt16 = 1
}
