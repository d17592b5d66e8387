// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: natfleet contributors

/// The kernel's own tables by netlink, without a program in between: connection tracking, the generation of the
/// nf_tables ruleset, and what changes while nobody asks.
///
/// Approach: requests and answers are bytes, put together and read here with every length checked, since Swift's Glibc
/// module shows none of the kernel's netlink headers; each constant names the header that it comes from. Sockets are
/// opened for each question, which takes microseconds, so there is no state to share between threads.
///
/// Invariants: nothing here is asked for by another program; what the kernel sends is never trusted to be as long as it
/// says. All calls block, none for longer than `NetlinkSocket.patience`.
enum NetlinkNumber {
    /// linux/netlink.h: NETLINK_ROUTE.
    static let route: Int32 = 0
    /// linux/netlink.h: NETLINK_NETFILTER.
    static let netfilter: Int32 = 12
    /// linux/socket.h: SOL_NETLINK.
    static let socketLevel: Int32 = 270
    /// linux/netlink.h: NETLINK_ADD_MEMBERSHIP.
    static let addMembership: Int32 = 1
}

/// linux/netlink.h: NLM_F_*.
struct MessageFlags: OptionSet, Sendable {
    let rawValue: UInt16

    static let request = MessageFlags(rawValue: 0x1)
    static let multipart = MessageFlags(rawValue: 0x2)
    static let acknowledge = MessageFlags(rawValue: 0x4)
    static let dumpInterrupted = MessageFlags(rawValue: 0x10)
    static let replace = MessageFlags(rawValue: 0x100)
    static let exclusive = MessageFlags(rawValue: 0x200)
    static let create = MessageFlags(rawValue: 0x400)
    /// NLM_F_ROOT and NLM_F_MATCH.
    static let dump = MessageFlags(rawValue: 0x300)
}

/// linux/netlink.h: the message types below NLMSG_MIN_TYPE.
enum ControlType {
    static let none: UInt16 = 1
    static let error: UInt16 = 2
    static let done: UInt16 = 3
    static let overrun: UInt16 = 4
}

/// `struct nlmsghdr` of linux/netlink.h and what follows it.
struct NetlinkMessage {
    var type: UInt16
    var flags: MessageFlags
    var sequence: UInt32
    var payload: ArraySlice<UInt8>

    static let headerLength = 16

    /// The errno of an NLMSG_ERROR or NLMSG_DONE, 0 for an acknowledgement; nil where it is cut short.
    var errorNumber: Int32? {
        payload.native(Int32.self, at: 0).map { $0 == .min ? .max : -$0 }
    }
}

/// What one call of recvfrom(2) brought.
struct NetlinkMessages: Sequence, IteratorProtocol {
    private var rest: ArraySlice<UInt8>
    /// A length made no sense: what came after it is lost.
    private(set) var isMalformed = false

    init(_ bytes: ArraySlice<UInt8>) { rest = bytes }

    mutating func next() -> NetlinkMessage? {
        guard !rest.isEmpty, !isMalformed else { return nil }
        guard let length = rest.native(UInt32.self, at: 0).flatMap({ Int(exactly: $0) }),
            let type = rest.native(UInt16.self, at: 4),
            let flags = rest.native(UInt16.self, at: 6),
            let sequence = rest.native(UInt32.self, at: 8),
            length >= NetlinkMessage.headerLength, length <= rest.count
        else {
            isMalformed = true
            return nil
        }
        let payload = rest.dropFirst(NetlinkMessage.headerLength).prefix(length - NetlinkMessage.headerLength)
        rest = rest.dropFirst(aligned(length))
        return NetlinkMessage(type: type, flags: MessageFlags(rawValue: flags), sequence: sequence, payload: payload)
    }
}

/// `struct nlattr` of linux/netlink.h and what follows it.
struct NetlinkAttribute {
    /// Without NLA_F_NESTED and NLA_F_NET_BYTEORDER.
    var type: UInt16
    var payload: ArraySlice<UInt8>

    static let headerLength = 4
    /// linux/netlink.h: NLA_F_NESTED.
    static let nested: UInt16 = 1 << 15
    /// linux/netlink.h: NLA_TYPE_MASK.
    static let typeMask: UInt16 = 0x3fff
}

/// Ends at the first attribute whose length makes no sense.
struct NetlinkAttributes: Sequence, IteratorProtocol {
    private var rest: ArraySlice<UInt8>

    init(_ bytes: ArraySlice<UInt8>) { rest = bytes }

    mutating func next() -> NetlinkAttribute? {
        guard let length = rest.native(UInt16.self, at: 0).map({ Int($0) }), let type = rest.native(UInt16.self, at: 2),
            length >= NetlinkAttribute.headerLength, length <= rest.count
        else { return nil }
        let payload = rest.dropFirst(NetlinkAttribute.headerLength).prefix(length - NetlinkAttribute.headerLength)
        rest = rest.dropFirst(aligned(length))
        return NetlinkAttribute(type: type & NetlinkAttribute.typeMask, payload: payload)
    }
}

/// linux/netlink.h: NLMSG_ALIGN and NLA_ALIGN are the same.
func aligned(_ length: Int) -> Int { (length + 3) & ~3 }

extension ArraySlice<UInt8> {
    // Inlined, since a long table is read number by number, and the agent is built for size.

    /// In the machine's byte order, as netlink's own headers are; nil where the bytes are too few.
    @inline(__always) func native<Value: FixedWidthInteger & BitwiseCopyable>(
        _: Value.Type, at offset: Int
    ) -> Value? {
        guard offset >= 0, count - offset >= MemoryLayout<Value>.size else { return nil }
        return withUnsafeBytes { $0.loadUnaligned(fromByteOffset: offset, as: Value.self) }
    }

    /// In network byte order, as netfilter's attributes are; nil where the bytes are too few.
    @inline(__always) func big<Value: FixedWidthInteger & BitwiseCopyable>(
        _ type: Value.Type, at offset: Int = 0
    ) -> Value? {
        native(type, at: offset).map { Value(bigEndian: $0) }
    }
}

extension [UInt8] {
    mutating func append<Value: FixedWidthInteger>(native value: Value) {
        Swift.withUnsafeBytes(of: value) { append(contentsOf: $0) }
    }

    mutating func append<Value: FixedWidthInteger>(big value: Value) { append(native: value.bigEndian) }

    /// An attribute whose payload `fill` appends.
    mutating func appendAttribute(_ type: UInt16, _ fill: (inout [UInt8]) -> Void) {
        let start = count
        append(native: UInt16(0))
        append(native: type)
        fill(&self)
        let length = count - start
        append(contentsOf: repeatElement(0, count: aligned(length) - length))
        Swift.withUnsafeBytes(of: UInt16(length)) { replaceSubrange(start..<start + 2, with: $0) }
    }
}
