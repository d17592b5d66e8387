// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: natfleet contributors

/// How full connection tracking is.
package struct ConntrackUsage: Hashable, Sendable {
    /// Entries of this network namespace.
    package var count: Int
    /// How many there may be; further connections are dropped, unless an entry without answers can be thrown out.
    package var max: Int
    /// Of the hash table, fixed when the module was loaded or set since.
    package var buckets: Int
    /// nil where the kernel does not tell.
    package var counters: ConntrackCounters?

    package init(count: Int, max: Int, buckets: Int, counters: ConntrackCounters? = nil) {
        self.count = count
        self.max = max
        self.buckets = buckets
        self.counters = counters
    }
}

/// What connection tracking could not do, since the namespace was made, over all CPUs.
package struct ConntrackCounters: Hashable, Sendable {
    /// A new entry clashed with another one: above all when all source ports towards one destination are taken (FACTS
    /// §10), what AWS calls ErrorPortAllocation.
    package var insertFailed: UInt64
    /// Packets dropped: the table was full, or an insertion failed.
    package var dropped: UInt64
    /// Entries thrown out early to make room.
    package var droppedEarly: UInt64

    package init(insertFailed: UInt64 = 0, dropped: UInt64 = 0, droppedEarly: UInt64 = 0) {
        self.insertFailed = insertFailed
        self.dropped = dropped
        self.droppedEarly = droppedEarly
    }

    /// Reads /proc/net/stat/nf_conntrack: a line of names, then one of hexadecimal numbers for each CPU. Kernels differ in
    /// the order and the number of columns, so they are found by name.
    /// - Returns: nil where a column is missing or a number is none.
    package init?(stat text: some StringProtocol) {
        let lines = text.split(separator: "\n").map { $0.split(separator: " ", omittingEmptySubsequences: true) }
        guard let names = lines.first, lines.count > 1 else { return nil }
        func sum(_ name: String) -> UInt64? {
            guard let column = names.firstIndex(where: { $0 == name }) else { return nil }
            var sum: UInt64 = 0
            for line in lines.dropFirst() {
                guard line.indices.contains(column), let number = UInt64(line[column], radix: 16) else { return nil }
                sum &+= number
            }
            return sum
        }
        guard let insertFailed = sum("insert_failed"), let dropped = sum("drop"), let early = sum("early_drop") else {
            return nil
        }
        self.init(insertFailed: insertFailed, dropped: dropped, droppedEarly: early)
    }
}
