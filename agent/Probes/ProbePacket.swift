// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: natfleet contributors

import AgentCore
import Glibc
import NATPolicy
import NetAddress

/// Something to send, and from whom.
struct ProbePacket: Hashable, Sendable {
    /// nil for whatever address this host would take.
    let client: IPAddress?
    let destination: IPAddress
    let port: UInt16
    /// A TCP connection, closed as soon as it stands; else one datagram.
    let isConnection: Bool
    /// Ends with the next router: forwarded like any other, and seen by nobody.
    let isShort: Bool

    init(datagramFrom client: IPAddress, to destination: IPAddress) {
        (self.client, self.destination, port, isConnection, isShort) = (
            client, destination, ProbePlan.datagramPort, false, true
        )
    }

    init(connectionFrom client: IPAddress?, to target: ProbeTarget, isShort: Bool = false) {
        (self.client, destination, port, isConnection) = (client, target.address, target.port, true)
        self.isShort = isShort
    }

    /// As the first packet arrives, in conntrack's words.
    func tuple(from source: UInt16) -> FlowTuple? {
        client.map { client in
            FlowTuple(
                source: client, destination: destination,
                protocolNumber: UInt8(isConnection ? IPPROTO_TCP : IPPROTO_UDP),
                detail: .ports(source: source, destination: port))
        }
    }
}

/// What became of a packet on this side of the wire.
struct SentPacket: Sendable {
    /// A new one each time, so that nothing older is taken for it.
    var sourcePort: UInt16
    /// Why no connection stands; nil where one does.
    var silence: String?
}

/// Sends all at once from the network namespace of the calling thread, and waits until each connection is accepted or
/// refused, or `limit` milliseconds are over.
func send(_ packets: [ProbePacket], limit: Int32) throws(KernelError) -> [SentPacket] {
    var sockets: [Int32] = []
    defer { for socket in sockets { close(socket) } }
    var sent: [SentPacket] = []
    for packet in packets {
        let socket = try open(packet)
        sockets.append(socket)
        let silence = try start(packet, on: socket)
        sent.append(SentPacket(sourcePort: try localPort(of: socket), silence: silence))
    }
    let pending = packets.indices.filter { packets[$0].isConnection && sent[$0].silence == underWay }
    for (index, silence) in zip(pending, outcomes(of: pending.map { sockets[$0] }, limit: limit)) {
        sent[index].silence = silence
    }
    return sent
}

private let underWay = "no answer yet"

private func open(_ packet: ProbePacket) throws(KernelError) -> Int32 {
    let family = packet.destination.family
    let kind = packet.isConnection ? SOCK_STREAM : SOCK_DGRAM
    let flags = SOCK_CLOEXEC.rawValue | SOCK_NONBLOCK.rawValue
    let number = socket(family == .ipv4 ? AF_INET : AF_INET6, Int32(kind.rawValue | flags), 0)
    guard number >= 0 else { throw KernelError("socket: \(text(errno))") }
    if packet.isShort {
        var hops: Int32 = 2
        let (level, option) = family == .ipv4 ? (IPPROTO_IP, IP_TTL) : (IPPROTO_IPV6, IPV6_UNICAST_HOPS)
        setsockopt(number, Int32(level), option, &hops, socklen_t(MemoryLayout.size(ofValue: hops)))
    }
    if packet.isConnection, !packet.isShort {
        // Closed by a reset: once the route to the client is gone, what is left of the farewell would not find it, and
        // the target would keep the connection for minutes.
        var now = linger(l_onoff: 1, l_linger: 0)
        setsockopt(number, SOL_SOCKET, SO_LINGER, &now, socklen_t(MemoryLayout.size(ofValue: now)))
    }
    if let client = packet.client, withSocketAddress(client, 0, { bind(number, $0, $1) }) != 0 {
        let error = KernelError("bind to \(client): \(text(errno))")
        close(number)
        throw error
    }
    return number
}

/// - Returns: why no connection stands; nil where one does already.
private func start(_ packet: ProbePacket, on socket: Int32) throws(KernelError) -> String? {
    guard packet.isConnection else {
        let bytes = Array("natfleet".utf8)
        let count = withSocketAddress(packet.destination, packet.port) {
            sendto(socket, bytes, bytes.count, 0, $0, $1)
        }
        guard count == bytes.count else { throw KernelError("send to \(packet.destination): \(text(errno))") }
        return underWay
    }
    if withSocketAddress(packet.destination, packet.port, { connect(socket, $0, $1) }) == 0 { return nil }
    return errno == EINPROGRESS ? underWay : text(errno)
}

private func localPort(of socket: Int32) throws(KernelError) -> UInt16 {
    // Where the port stands is the same in both families.
    var address = sockaddr_in6()
    var length = socklen_t(MemoryLayout.size(ofValue: address))
    let status = withUnsafeMutablePointer(to: &address) {
        $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { getsockname(socket, $0, &length) }
    }
    guard status == 0 else { throw KernelError("getsockname: \(text(errno))") }
    return UInt16(bigEndian: address.sin6_port)
}

/// Why connections were not accepted; nil for those that were.
private func outcomes(of sockets: [Int32], limit: Int32) -> [String?] {
    var outcomes: [String?] = sockets.map { _ in "no answer within \(limit / 1000) s" }
    var polled = sockets.map { pollfd(fd: $0, events: Int16(POLLOUT), revents: 0) }
    let deadline = now() + Int64(limit)
    while polled.contains(where: { $0.fd >= 0 }) {
        let left = deadline - now()
        guard left > 0 else { break }
        if poll(&polled, nfds_t(polled.count), Int32(left)) < 0, errno != EINTR { break }
        for index in polled.indices where polled[index].fd >= 0 && polled[index].revents != 0 {
            var code: Int32 = 0
            var length = socklen_t(MemoryLayout.size(ofValue: code))
            getsockopt(polled[index].fd, SOL_SOCKET, SO_ERROR, &code, &length)
            outcomes[index] = code == 0 ? nil : text(code)
            polled[index].fd = -1
        }
    }
    return outcomes
}

/// Milliseconds of a clock that nobody sets.
private func now() -> Int64 {
    var time = timespec()
    clock_gettime(CLOCK_MONOTONIC, &time)
    return Int64(time.tv_sec) * 1000 + Int64(time.tv_nsec) / 1_000_000
}

private func withSocketAddress<Value>(
    _ address: IPAddress, _ port: UInt16, _ body: (UnsafePointer<sockaddr>, socklen_t) -> Value
) -> Value {
    func call<Address>(_ value: Address) -> Value {
        withUnsafePointer(to: value) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { body($0, socklen_t(MemoryLayout<Address>.size)) }
        }
    }
    switch address.family {
    case .ipv4:
        var value = sockaddr_in()
        value.sin_family = sa_family_t(AF_INET)
        value.sin_port = port.bigEndian
        value.sin_addr.s_addr = UInt32(truncatingIfNeeded: address.bits).bigEndian
        return call(value)
    case .ipv6:
        var value = sockaddr_in6()
        value.sin6_family = sa_family_t(AF_INET6)
        value.sin6_port = port.bigEndian
        withUnsafeMutableBytes(of: &value.sin6_addr) { bytes in
            withUnsafeBytes(of: address.bits.bigEndian) { bytes.copyMemory(from: $0) }
        }
        return call(value)
    }
}
