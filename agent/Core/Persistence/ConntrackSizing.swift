// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: natfleet contributors

package import FleetModel
package import NATPolicy

/// Sizes connection tracking as the policy says, now; `PersistentState.conntrack` keeps it over reboots.
///
/// Never a reason for a change to fail: only the first network namespace may set the size, so a container keeps what it
/// has. The value found is on disk before the first write and goes back when no policy is left.
package struct ConntrackSizing: Sendable {
    /// Fewer than these in a container are worth a condition even where the policy asks for no number.
    static let modest = 65_536

    let kernel: any Kernel
    let files: any StateFiles
    /// nil where nobody knows: `auto` then leaves the size alone.
    let memoryKiB: Int?

    package init(kernel: any Kernel, files: any StateFiles, memoryKiB: Int?) {
        self.kernel = kernel
        self.files = files
        self.memoryKiB = memoryKiB
    }

    package struct Result: Hashable, Sendable {
        /// To be kept over reboots; nil where natfleet set none.
        package var size: ConntrackSize?
        package var condition: Condition?

        package init(size: ConntrackSize? = nil, condition: Condition? = nil) {
            self.size = size
            self.condition = condition
        }
    }

    /// Changes nothing where the size is right. Belongs after the rules: they bring the module, and with it the keys.
    package func apply(_ policy: EffectivePolicy) -> Result {
        let wanted = policy.layers.isEmpty ? nil : policy.conntrack?.max ?? .auto
        do {
            let found = try files.load(ConntrackSize.self, .conntrack)
            guard let now = try current() else {
                return failure(wanted, now: nil, "the kernel has no \(ConntrackSize.maxKey)")
            }
            guard let target = target(wanted, found: found ?? now) else {
                if let found {
                    // The kernel had just that many, so it rounds nothing.
                    try set(found, areBucketsRight: now.buckets == found.buckets)
                    try files.remove(.conntrack)
                }
                return Result()
            }
            guard !now.isSame(as: target) else { return Result(size: found == nil ? nil : target) }
            if found == nil { try files.save(now, .conntrack) }
            do throws(KernelError) {
                try set(target, areBucketsRight: now.hasBuckets(of: target))
            } catch {
                if found == nil { try files.remove(.conntrack) }
                return failure(wanted, now: now, "\(ConntrackSize.maxKey) stays \(now.max): \(error)")
            }
            return Result(size: target)
        } catch {
            return Result(condition: Condition(.conntrackNotSized, "\(error)"))
        }
    }

    /// The size that natfleet made and that has to be there after a reboot; nil where it made none. Only reads.
    func kept(_ policy: EffectivePolicy) -> ConntrackSize? {
        guard !policy.layers.isEmpty,
            let found = (try? files.load(ConntrackSize.self, .conntrack)).flatMap(\.self)
        else { return nil }
        return target(policy.conntrack?.max ?? .auto, found: found)
    }

    /// nil where what was found is right.
    private func target(_ wanted: Conntrack.Max?, found: ConntrackSize) -> ConntrackSize? {
        switch wanted {
        case nil: return nil
        case .entries(let number): return .size(number)
        case .auto:
            guard let memoryKiB else { return nil }
            let automatic = ConntrackSize.automatic(memoryKiB: memoryKiB)
            guard automatic.max > found.max else { return nil }
            return ConntrackSize(max: automatic.max, buckets: max(automatic.buckets, found.buckets))
        }
    }

    private func current() throws(KernelError) -> ConntrackSize? {
        guard let max = try kernel.sysctl(ConntrackSize.maxKey).flatMap({ Int($0) }),
            let buckets = try kernel.sysctl(ConntrackSize.bucketsKey).flatMap({ Int($0) })
        else { return nil }
        return ConntrackSize(max: max, buckets: buckets)
    }

    private func set(_ size: ConntrackSize, areBucketsRight: Bool) throws(KernelError) {
        if !areBucketsRight { try kernel.setSysctl(ConntrackSize.bucketsKey, "\(size.buckets)") }
        try kernel.setSysctl(ConntrackSize.maxKey, "\(size.max)")
        let max = try kernel.sysctl(ConntrackSize.maxKey)
        guard max == "\(size.max)" else {
            throw KernelError("was set to \(size.max) and reads \(max ?? "nothing")")
        }
    }

    private func failure(_ wanted: Conntrack.Max?, now: ConntrackSize?, _ message: String) -> Result {
        let least =
            switch wanted {
            case nil: 0
            case .auto: Self.modest
            case .entries(let number): number
            }
        guard (now?.max ?? 0) < least else { return Result() }
        return Result(condition: Condition(.conntrackNotSized, message))
    }
}
