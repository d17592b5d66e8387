// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: natfleet contributors

import Glibc

/// Why a question to the kernel got no answer.
struct NetlinkError: Error {
    /// errno.
    let code: Int32

    static let malformed = NetlinkError(code: EBADMSG)

    var text: String { String(cString: strerror(code)) }
}

/// A netlink socket of the network namespace that the calling thread is in.
struct NetlinkSocket: ~Copyable {
    /// How long the kernel may take for one answer, in seconds.
    static let patience = 5
    /// Of one answer; what is longer fails.
    private static let answerSize = 8 << 10
    /// Of a dump, of which the kernel fills up to 32 KiB at a time, and more only where one message needs it.
    private static let dumpSize = 64 << 10
    /// How often something that changes while it is read is read again.
    private static let attempts = 4

    let descriptor: Int32
    private var sequence: UInt32 = 0
    /// Made for the first question: a socket that only listens has its own.
    private var buffer: [UInt8] = []

    /// - Parameter number: of `NetlinkNumber`.
    init(_ number: Int32) throws(NetlinkError) {
        let kind = Int32(bitPattern: SOCK_RAW.rawValue | SOCK_CLOEXEC.rawValue)
        let descriptor = socket(AF_NETLINK, kind, number)
        guard descriptor >= 0 else { throw NetlinkError(code: errno) }
        var limit = timeval(tv_sec: Self.patience, tv_usec: 0)
        let size = socklen_t(MemoryLayout<timeval>.size)
        // Any port will do, but without one nothing that is sent to groups arrives.
        guard setsockopt(descriptor, SOL_SOCKET, SO_RCVTIMEO, &limit, size) == 0, bindAnywhere(descriptor) == 0 else {
            let code = errno
            close(descriptor)
            throw NetlinkError(code: code)
        }
        self.descriptor = descriptor
    }

    deinit { close(descriptor) }

    /// Asks for one thing.
    /// - Returns: the answer; nil where the kernel only acknowledges.
    mutating func request(
        _ type: UInt16, _ payload: [UInt8], _ flags: MessageFlags = []
    ) throws(NetlinkError) -> NetlinkMessage? {
        reserve(Self.answerSize)
        try send(type, flags.union(.request), payload)
        var answer: NetlinkMessage?
        _ = try receiveAnswers { message in
            answer = message
            return flags.contains(.acknowledge)
        }
        return answer
    }

    /// Asks for all of something. Where it changed in a way that the kernel notices, `body` gets all of it once more.
    mutating func dump(
        _ type: UInt16, _ payload: [UInt8], _ body: (NetlinkMessage) -> Void
    ) throws(NetlinkError) {
        reserve(Self.dumpSize)
        for _ in 0..<Self.attempts {
            try send(type, [.request, .dump], payload)
            let isWhole = try receiveAnswers { message in
                body(message)
                return true
            }
            if isWhole { return }
        }
        throw NetlinkError(code: EAGAIN)
    }

    private mutating func reserve(_ size: Int) {
        if buffer.count < size { buffer = [UInt8](repeating: 0, count: size) }
    }

    private mutating func send(_ type: UInt16, _ flags: MessageFlags, _ payload: [UInt8]) throws(NetlinkError) {
        sequence &+= 1
        var bytes: [UInt8] = []
        bytes.reserveCapacity(NetlinkMessage.headerLength + payload.count)
        bytes.append(native: UInt32(NetlinkMessage.headerLength + payload.count))
        bytes.append(native: type)
        bytes.append(native: flags.rawValue)
        bytes.append(native: sequence)
        bytes.append(native: UInt32(0))
        bytes += payload
        while Glibc.send(descriptor, bytes, bytes.count, 0) != bytes.count {
            guard errno == EINTR else { throw NetlinkError(code: errno) }
        }
    }

    /// Reads the answers to what was sent last, up to their end.
    /// - Parameter body: says whether more is to come.
    /// - Returns: false where the kernel says that it changed something meanwhile.
    private mutating func receiveAnswers(_ body: (NetlinkMessage) -> Bool) throws(NetlinkError) -> Bool {
        var isWhole = true
        while true {
            let count = try receive()
            var messages = NetlinkMessages(buffer[..<count])
            while let message = messages.next() {
                // Of a question that was given up.
                guard message.sequence == sequence else { continue }
                if message.flags.contains(.dumpInterrupted) { isWhole = false }
                switch message.type {
                case ControlType.none: continue
                case ControlType.overrun: throw NetlinkError(code: ENOBUFS)
                case ControlType.error, ControlType.done:
                    // NLMSG_DONE of old kernels has nothing in it.
                    let code = message.errorNumber ?? (message.type == ControlType.done ? 0 : EBADMSG)
                    if code > 0 { throw NetlinkError(code: code) }
                    return isWhole
                default:
                    if !body(message) { return isWhole }
                }
            }
            if messages.isMalformed { throw .malformed }
        }
    }

    private mutating func receive() throws(NetlinkError) -> Int {
        while true {
            let (count, sender) = receiveFrom(descriptor, &buffer, flags: 0)
            guard count >= 0 else {
                if errno == EINTR { continue }
                throw NetlinkError(code: errno == EAGAIN ? ETIMEDOUT : errno)
            }
            guard count <= buffer.count else { throw NetlinkError(code: EMSGSIZE) }
            // Only the kernel has this number.
            if sender == 0 { return count }
        }
    }
}

/// `struct sockaddr_nl` of linux/netlink.h: family, padding, port, groups.
private let anyAddress: [UInt8] = {
    var bytes: [UInt8] = []
    bytes.append(native: UInt16(AF_NETLINK))
    return bytes + [UInt8](repeating: 0, count: 10)
}()

private func bindAnywhere(_ descriptor: Int32) -> Int32 {
    anyAddress.withUnsafeBytes {
        bind(descriptor, $0.baseAddress?.assumingMemoryBound(to: sockaddr.self), socklen_t($0.count))
    }
}

/// recvfrom(2), with the whole length of a message that is longer than the buffer.
/// - Returns: -1 and errno, or the length and the netlink port of whoever sent it.
func receiveFrom(_ descriptor: Int32, _ buffer: inout [UInt8], flags: Int32) -> (count: Int, sender: UInt32?) {
    var address = anyAddress
    let count = address.withUnsafeMutableBytes { address in
        var length = socklen_t(address.count)
        return recvfrom(
            descriptor, &buffer, buffer.count, flags | Int32(MSG_TRUNC),
            address.baseAddress?.assumingMemoryBound(to: sockaddr.self), &length)
    }
    return (count, address[...].native(UInt32.self, at: 4))
}
