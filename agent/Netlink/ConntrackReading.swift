// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: natfleet contributors

package import AgentCore
import Glibc

/// How full connection tracking is in the network namespace that the calling thread is in.
/// - Returns: nil where the kernel does not track connections yet.
package func conntrackUsage() -> ConntrackUsage? {
    guard let count = conntrackCount(), let max = number("max"), let buckets = number("buckets") else { return nil }
    // The thread's, not the process's: /proc/net is the latter.
    let stat = readText("/proc/thread-self/net/stat/nf_conntrack").flatMap { ConntrackCounters(stat: $0) }
    return ConntrackUsage(count: count, max: max, buckets: buckets, counters: stat ?? conntrackCounters())
}

/// How many flows it tracks now; nil where the kernel does not track connections yet.
func conntrackCount() -> Int? { number("count") }

private func number(_ name: String) -> Int? {
    readText("/proc/sys/net/netfilter/nf_conntrack_\(name)").flatMap { Int($0.prefix { $0 != "\n" }) }
}

/// The same by netlink, for kernels without the file (CONFIG_NF_CONNTRACK_PROCFS off).
func conntrackCounters() -> ConntrackCounters? {
    var sum: ConntrackCounters?
    do throws(NetlinkError) {
        var socket = try NetlinkSocket(NetlinkNumber.netfilter)
        try socket.dump(NetfilterType.getStatistics, NetfilterType.header(familyNumber: 0)) { message in
            guard message.type == NetfilterType.getStatistics else { return }
            var counters = sum ?? ConntrackCounters()
            for attribute in NetlinkAttributes(message.payload.dropFirst(NetfilterType.headerLength)) {
                let number = UInt64(attribute.payload.big(UInt32.self) ?? 0)
                switch attribute.type {
                case StatisticsAttribute.insertFailed: counters.insertFailed &+= number
                case StatisticsAttribute.dropped: counters.dropped &+= number
                case StatisticsAttribute.droppedEarly: counters.droppedEarly &+= number
                default: break
                }
            }
            sum = counters
        }
    } catch {
        return nil
    }
    return sum
}

/// linux/netfilter/nfnetlink_conntrack.h: `enum ctattr_stats_cpu`.
private enum StatisticsAttribute {
    static let insertFailed: UInt16 = 9
    static let dropped: UInt16 = 10
    static let droppedEarly: UInt16 = 11
}

/// A small file of the kernel's; nil where it can't be read.
private func readText(_ path: String) -> String? {
    let descriptor = open(path, O_RDONLY | O_CLOEXEC)
    guard descriptor >= 0 else { return nil }
    defer { close(descriptor) }
    var bytes: [UInt8] = []
    var chunk = [UInt8](repeating: 0, count: 4 << 10)
    while true {
        let count = read(descriptor, &chunk, chunk.count)
        if count < 0, errno == EINTR { continue }
        guard count >= 0 else { return nil }
        if count == 0 { return String(decoding: bytes, as: UTF8.self) }
        bytes += chunk[..<count]
    }
}
