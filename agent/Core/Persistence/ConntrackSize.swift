// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: natfleet contributors

package import NATPolicy

/// How many connections a machine can track.
package struct ConntrackSize: Codable, Hashable, Sendable {
    /// net.netfilter.nf_conntrack_max, entries.
    package var max: Int
    /// net.netfilter.nf_conntrack_buckets.
    package var buckets: Int

    package init(max: Int, buckets: Int) {
        self.max = max
        self.buckets = buckets
    }

    /// In the order in which to make them: the hash first, so that it is never short for what may come.
    package var settings: [SysctlSetting] {
        [SysctlSetting(Self.bucketsKey, "\(buckets)"), SysctlSetting(Self.maxKey, "\(max)")]
    }

    package static let maxKey = "net.netfilter.nf_conntrack_max"
    package static let bucketsKey = "net.netfilter.nf_conntrack_buckets"

    /// The size for a NAT instance with this much memory, in KiB: 131,072 entries with 512 MiB, 262,144 with 1 GiB,
    /// 1,048,576 from 4 GiB on.
    ///
    /// An entry takes about 320 bytes, more with its extensions (address translation, counters, helpers): 512 are
    /// reckoned, so that a full table takes an eighth of the memory. The kernel would size 1 GiB to 8,192 entries.
    ///
    /// As many buckets as entries, as the kernel itself does since 5.15: a bucket is a pointer of 8 bytes, an entry stands
    /// in two of them.
    package static func automatic(memoryKiB: Int) -> ConntrackSize {
        size(min(1 << 20, memoryKiB * 1024 / 8 / 512))
    }

    /// An operator's number.
    package static func size(_ max: Int) -> ConntrackSize {
        ConntrackSize(max: max, buckets: Swift.min(Swift.max(max, 1024), 1 << 20))
    }

    /// Whether this is what the kernel makes of `wanted`.
    func isSame(as wanted: ConntrackSize) -> Bool { max == wanted.max && hasBuckets(of: wanted) }

    /// It rounds the hash up to whole pages, of up to 64 KiB.
    func hasBuckets(of wanted: ConntrackSize) -> Bool {
        (wanted.buckets..<wanted.buckets + 8192).contains(buckets)
    }

    /// From /proc/meminfo.
    package static func memoryKiB(_ meminfo: String) -> Int? {
        meminfo.split(separator: "\n").first { $0.hasPrefix("MemTotal:") }?
            .split(separator: " ").dropFirst().first.flatMap { Int($0) }
    }
}
