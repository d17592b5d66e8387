// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: natfleet contributors

import AgentCore
import NetAddress

/// linux/netfilter/nfnetlink_conntrack.h: `enum ctattr_type`.
enum FlowAttribute {
    static let original: UInt16 = 1
    static let reply: UInt16 = 2
    static let status: UInt16 = 3
    static let protocolInfo: UInt16 = 4
    static let timeout: UInt16 = 7
    static let mark: UInt16 = 8
    static let id: UInt16 = 12
    static let zone: UInt16 = 18
}

/// linux/netfilter/nfnetlink_conntrack.h: `enum ctattr_tuple`.
private enum TupleAttribute {
    static let addresses: UInt16 = 1
    static let transport: UInt16 = 2
    static let zone: UInt16 = 3
}

/// linux/netfilter/nfnetlink_conntrack.h: `enum ctattr_ip`.
private enum AddressAttribute {
    static func source(_ family: IPFamily) -> UInt16 { family == .ipv4 ? 1 : 3 }
    static func destination(_ family: IPFamily) -> UInt16 { family == .ipv4 ? 2 : 4 }
}

/// linux/netfilter/nfnetlink_conntrack.h: `enum ctattr_l4proto`.
private enum TransportAttribute {
    static let number: UInt16 = 1
    static let sourcePort: UInt16 = 2
    static let destinationPort: UInt16 = 3

    static func icmp(_ family: IPFamily) -> (id: UInt16, type: UInt16, code: UInt16) {
        family == .ipv4 ? (4, 5, 6) : (7, 8, 9)
    }
}

extension IPFamily {
    /// linux/socket.h: AF_INET and AF_INET6.
    var familyNumber: UInt8 { self == .ipv4 ? 2 : 10 }
}

extension IPAddress {
    /// nil where the length is wrong.
    init?(bytes: ArraySlice<UInt8>, _ family: IPFamily) {
        guard bytes.count == family.bits / 8 else { return nil }
        let bits: UInt128? =
            switch family {
            case .ipv4: bytes.big(UInt32.self).map { UInt128($0) }
            case .ipv6: bytes.big(UInt128.self)
            }
        guard let bits else { return nil }
        self.init(family: family, bits: bits)
    }
}

extension TrackedFlow {
    /// Reads the attributes of an IPCTNL_MSG_CT_NEW, those after its `struct nfgenmsg`.
    ///
    /// nil where a tuple is missing or cut short. Attributes that are not known are passed over.
    init?(attributes bytes: ArraySlice<UInt8>, _ family: IPFamily) {
        var original: (tuple: FlowTuple, zone: UInt16)?
        var reply: (tuple: FlowTuple, zone: UInt16)?
        var (status, mark, zone, id, timeout): (UInt32, UInt32, UInt16, UInt32, UInt32) = (0, 0, 0, 0, 0)
        var tcpState: UInt8?
        for attribute in NetlinkAttributes(bytes) {
            let payload = attribute.payload
            switch attribute.type {
            case FlowAttribute.original: original = readTuple(payload, family)
            case FlowAttribute.reply: reply = readTuple(payload, family)
            case FlowAttribute.status: status = payload.big(UInt32.self) ?? 0
            case FlowAttribute.protocolInfo: tcpState = readTCPState(payload)
            case FlowAttribute.timeout: timeout = payload.big(UInt32.self) ?? 0
            case FlowAttribute.mark: mark = payload.big(UInt32.self) ?? 0
            case FlowAttribute.id: id = payload.big(UInt32.self) ?? 0
            case FlowAttribute.zone: zone = payload.big(UInt16.self) ?? 0
            default: break
            }
        }
        guard let original, let reply else { return nil }
        self.init(
            original: original.tuple,
            reply: reply.tuple,
            status: FlowStatus(rawValue: status),
            mark: mark,
            zone: zone,
            originalZone: original.zone,
            replyZone: reply.zone,
            id: id,
            timeout: timeout,
            tcpState: tcpState
        )
    }
}

/// linux/netfilter/nfnetlink_conntrack.h: CTA_PROTOINFO_TCP and in it CTA_PROTOINFO_TCP_STATE, both 1.
private func readTCPState(_ bytes: ArraySlice<UInt8>) -> UInt8? {
    let tcp = NetlinkAttributes(bytes).first { $0.type == 1 }
    let state = tcp.flatMap { NetlinkAttributes($0.payload).first { $0.type == 1 } }
    return state?.payload.first
}

private func readTuple(_ bytes: ArraySlice<UInt8>, _ family: IPFamily) -> (FlowTuple, zone: UInt16)? {
    var (source, destination): (IPAddress?, IPAddress?)
    var transport: (number: UInt8, detail: FlowTuple.Detail)?
    var zone: UInt16 = 0
    for attribute in NetlinkAttributes(bytes) {
        switch attribute.type {
        case TupleAttribute.addresses:
            for address in NetlinkAttributes(attribute.payload) {
                if address.type == AddressAttribute.source(family) {
                    source = IPAddress(bytes: address.payload, family)
                }
                if address.type == AddressAttribute.destination(family) {
                    destination = IPAddress(bytes: address.payload, family)
                }
            }
        case TupleAttribute.transport: transport = readTransport(attribute.payload, family)
        case TupleAttribute.zone: zone = attribute.payload.big(UInt16.self) ?? 0
        default: break
        }
    }
    guard let source, let destination, let transport else { return nil }
    let tuple = FlowTuple(
        source: source, destination: destination, protocolNumber: transport.number, detail: transport.detail)
    return (tuple, zone)
}

private func readTransport(
    _ bytes: ArraySlice<UInt8>, _ family: IPFamily
) -> (number: UInt8, detail: FlowTuple.Detail)? {
    let icmp = TransportAttribute.icmp(family)
    var number: UInt8?
    var (sourcePort, destinationPort): (UInt16?, UInt16?)
    var (id, type, code): (UInt16?, UInt8?, UInt8?)
    for attribute in NetlinkAttributes(bytes) {
        switch attribute.type {
        case TransportAttribute.number: number = attribute.payload.big(UInt8.self)
        case TransportAttribute.sourcePort: sourcePort = attribute.payload.big(UInt16.self)
        case TransportAttribute.destinationPort: destinationPort = attribute.payload.big(UInt16.self)
        case icmp.id: id = attribute.payload.big(UInt16.self)
        case icmp.type: type = attribute.payload.big(UInt8.self)
        case icmp.code: code = attribute.payload.big(UInt8.self)
        default: break
        }
    }
    guard let number else { return nil }
    if let sourcePort, let destinationPort {
        return (number, .ports(source: sourcePort, destination: destinationPort))
    }
    if let type, let code, let id { return (number, .icmp(type: type, code: code, id: id)) }
    return (number, .none)
}

extension [UInt8] {
    /// The attribute that names a flow by its original tuple.
    mutating func appendOriginal(_ tuple: FlowTuple, zone: UInt16 = 0) {
        let family = tuple.family
        appendAttribute(FlowAttribute.original | NetlinkAttribute.nested) { bytes in
            bytes.appendAttribute(TupleAttribute.addresses | NetlinkAttribute.nested) {
                $0.appendAttribute(AddressAttribute.source(family), tuple.source)
                $0.appendAttribute(AddressAttribute.destination(family), tuple.destination)
            }
            bytes.appendAttribute(TupleAttribute.transport | NetlinkAttribute.nested) {
                $0.appendTransport(tuple)
            }
            if zone != 0 { bytes.appendAttribute(TupleAttribute.zone) { $0.append(big: zone) } }
        }
    }

    /// In network byte order.
    mutating func appendAttribute(_ type: UInt16, _ address: IPAddress) {
        appendAttribute(type) { bytes in
            switch address.family {
            case .ipv4: bytes.append(big: UInt32(truncatingIfNeeded: address.bits))
            case .ipv6: bytes.append(big: address.bits)
            }
        }
    }

    private mutating func appendTransport(_ tuple: FlowTuple) {
        appendAttribute(TransportAttribute.number) { $0.append(tuple.protocolNumber) }
        switch tuple.detail {
        case .ports(let source, let destination):
            appendAttribute(TransportAttribute.sourcePort) { $0.append(big: source) }
            appendAttribute(TransportAttribute.destinationPort) { $0.append(big: destination) }
        case .icmp(let type, let code, let id):
            let attributes = TransportAttribute.icmp(tuple.family)
            appendAttribute(attributes.id) { $0.append(big: id) }
            appendAttribute(attributes.type) { $0.append(type) }
            appendAttribute(attributes.code) { $0.append(code) }
        case .none: break
        }
    }
}
