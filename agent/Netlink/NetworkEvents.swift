// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: natfleet contributors

package import AgentCore
import DetachedThread
import Glibc
import Synchronization

/// What changes in the network namespace that the calling thread was in when this was made.
package struct NetworkNews: Sendable {
    package let events: AsyncStream<NetworkEvent>
    /// Grows with every change of links, addresses and routes as soon as it is heard of, before an event tells of it.
    /// nil once nobody listens any more.
    package let count: @Sendable () -> Int?
    /// The same of `NetworkEvent.lock`.
    package let locks: @Sendable () -> Int?
}

/// What changes in the network namespace that the calling thread is in, from now on.
///
/// The stream never ends by itself unless the sockets fail, and ends its thread when whoever reads it stops. A burst is one event
/// of each kind, told once it is over or after a fifth of a second. Whoever reads too slowly to take all of them gets
/// `.lost` for what was left out.
///
/// Threading: one thread, which sleeps in poll(2) and is woken by the kernel only.
/// - Parameter lock: the file that programs of iptables' legacy back end lock.
/// - Throws: where the sockets or the thread cannot be had.
package func networkNews(lock: String = "/run/xtables.lock") throws(KernelError) -> NetworkNews {
    let (stream, continuation) = AsyncStream.makeStream(of: NetworkEvent.self, bufferingPolicy: .bufferingNewest(16))
    do throws(NetlinkError) {
        var ends: [Int32] = [-1, -1]
        let kind = Int32(bitPattern: SOCK_STREAM.rawValue | SOCK_CLOEXEC.rawValue)
        guard socketpair(AF_UNIX, kind, 0, &ends) == 0 else { throw NetlinkError(code: errno) }
        let mine = ends[0]
        continuation.onTermination = { _ in close(mine) }
        let listener = try Listener(events: continuation, lock: lock, stop: Descriptor(ends[1]))
        try listener.start()
        return NetworkNews(events: stream, count: listener.count, locks: listener.locks)
    } catch {
        continuation.finish()
        throw KernelError("listening to the kernel: \(error.text)")
    }
}

private struct Descriptor: ~Copyable {
    let number: Int32

    init(_ number: Int32) { self.number = number }

    deinit { close(number) }
}

/// Owned by its thread once started.
private final class Listener: Sendable {
    /// A burst is over when this long nothing came, in milliseconds.
    private static let pause: Int32 = 20
    /// How long a burst may last before it is told.
    private static let patience = Duration.milliseconds(200)
    /// How often to look for a lock file that is not watched, in milliseconds.
    private static let search: Int32 = 60_000

    private let events: AsyncStream<NetworkEvent>.Continuation
    private let heard = Mutex<(network: Int, lock: Int)?>((0, 0))
    private let ruleset: NetlinkSocket
    private let network: NetlinkSocket
    /// Of the legacy back end. Watched before the thread runs, so that nothing is missed until then.
    private let lock: Mutex<LockWatch>
    /// Readable when the other end was closed.
    private let stop: Descriptor

    init(
        events: AsyncStream<NetworkEvent>.Continuation, lock: String, stop: consuming Descriptor
    ) throws(NetlinkError) {
        self.events = events
        var watch = LockWatch(lock)
        _ = watch.watch()
        self.lock = Mutex(watch)
        self.stop = stop
        ruleset = try NetlinkSocket(NetlinkNumber.netfilter)
        try ruleset.accept(only: NetfilterType.newGeneration)
        try ruleset.join(NetfilterType.rulesetGroup)
        network = try NetlinkSocket(NetlinkNumber.route)
        for group in RouteType.groups { try network.join(group) }
    }

    @Sendable func count() -> Int? { heard.withLock { $0?.network } }

    @Sendable func locks() -> Int? { heard.withLock { $0?.lock } }

    func start() throws(NetlinkError) {
        let status = startDetachedThread { self.run() }
        guard status == 0 else { throw NetlinkError(code: status) }
    }

    private func run() {
        // What is longer is cut short, and told as lost.
        var buffer = [UInt8](repeating: 0, count: 16 << 10)
        var burst = Burst()
        var began = ContinuousClock.now
        while true {
            let (lockDescriptor, isWatched) = lock.withLock { ($0.descriptor, $0.isWatched) }
            var waiting = [stop.number, ruleset.descriptor, network.descriptor, lockDescriptor].map {
                pollfd(fd: $0, events: Int16(POLLIN), revents: 0)
            }
            let idle = isWatched ? -1 : Self.search
            let ready = poll(&waiting, nfds_t(waiting.count), burst.events.isEmpty ? idle : Self.pause)
            guard ready >= 0 || errno == EINTR, waiting[0].revents == 0 else { break }
            if burst.events.isEmpty { began = .now }
            if waiting[1].revents != 0, !ruleset.drain(&buffer, { burst.add(ruleset: $0) }) { break }
            if waiting[2].revents != 0, !network.drain(&buffer, { burst.add(network: $0) }) { break }
            let isTold = waiting[3].revents != 0
            let wasLocked = lock.withLock { isTold ? $0.drain() : $0.watch() }
            if wasLocked {
                burst.events.insert(.lock)
                heard.withLock { $0?.lock += 1 }
            }
            let news = burst.takeCount()
            if news > 0 { heard.withLock { $0?.network += news } }
            guard !burst.events.isEmpty, ready == 0 || began.duration(to: .now) > Self.patience else { continue }
            for event in burst.events { tell(event) }
            burst.events = []
        }
        heard.withLock { $0 = nil }
        events.finish()
    }

    private func tell(_ event: NetworkEvent) {
        if case .dropped = events.yield(event), event != .lost { tell(.lost) }
    }
}

/// What happened and was not told yet. Messages are nil where some were lost.
private struct Burst {
    var events: Set<NetworkEvent> = []
    private var addresses = KnownAddresses()
    private var count = 0

    /// Of news on the network since it was asked last.
    mutating func takeCount() -> Int {
        defer { count = 0 }
        return count
    }

    mutating func add(ruleset messages: NetlinkMessages?) { events.insert(messages == nil ? .lost : .ruleset) }

    mutating func add(network messages: NetlinkMessages?) {
        guard var messages else {
            addresses.forget()
            events.insert(.lost)
            count += 1
            return
        }
        while let message = messages.next() {
            guard addresses.isNews(message) else { continue }
            events.insert(.network)
            count += 1
        }
        guard messages.isMalformed else { return }
        events.insert(.lost)
        count += 1
    }
}

extension NetlinkSocket {
    fileprivate func join(_ group: Int32) throws(NetlinkError) {
        var group = group
        let size = socklen_t(MemoryLayout<Int32>.size)
        guard setsockopt(descriptor, NetlinkNumber.socketLevel, NetlinkNumber.addMembership, &group, size) == 0 else {
            throw NetlinkError(code: errno)
        }
    }

    /// Has the kernel drop all messages but those of one type, so that ten thousand new rules wake nobody and overrun
    /// nothing: one message says that they are there.
    fileprivate func accept(only type: UInt16) throws(NetlinkError) {
        // struct sock_filter of linux/filter.h: operation, steps to take when true and when false, operand. Loads are in
        // network byte order, netlink's types in the machine's.
        var program: [UInt8] = []
        for (operation, whenFalse, operand) in [
            (0x28, 0, 4),  // BPF_LD | BPF_H | BPF_ABS: nlmsghdr.nlmsg_type
            (0x15, 1, Int(type.bigEndian)),  // BPF_JMP | BPF_JEQ | BPF_K
            (0x06, 0, Int(Int32.max)),  // BPF_RET | BPF_K: all of it
            (0x06, 0, 0),
        ] {
            program.append(native: UInt16(operation))
            program += [0, UInt8(whenFalse)]
            program.append(native: UInt32(operand))
        }
        let status = program.withUnsafeBytes { program in
            // struct sock_fprog: how many, and where.
            var header: (UInt, UnsafeRawPointer?) = (UInt(0), program.baseAddress)
            withUnsafeMutableBytes(of: &header) { $0.storeBytes(of: UInt16(program.count / 8), as: UInt16.self) }
            return setsockopt(
                descriptor, SOL_SOCKET, SO_ATTACH_FILTER, &header, socklen_t(MemoryLayout.size(ofValue: header)))
        }
        guard status == 0 else { throw NetlinkError(code: errno) }
    }

    /// Reads what is there, up to a bound, so that a flood does not keep what was seen from being told.
    /// - Parameter body: gets nil where messages were lost, because the socket's buffer was full.
    /// - Returns: false where the socket is of no use any more.
    fileprivate func drain(_ buffer: inout [UInt8], _ body: (NetlinkMessages?) -> Void) -> Bool {
        for _ in 0..<1000 {
            let (count, sender) = receiveFrom(descriptor, &buffer, flags: Int32(MSG_DONTWAIT))
            if count >= 0 {
                // Only the kernel has this number. What is longer than the buffer is cut short.
                if sender == 0 { body(NetlinkMessages(buffer[..<min(count, buffer.count)])) }
                continue
            }
            switch errno {
            case EINTR: continue
            case EAGAIN: return true
            case ENOBUFS: body(nil)
            default: return false
            }
        }
        return true
    }
}
