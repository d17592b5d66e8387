// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: natfleet contributors

import NATPolicy

/// Sets sysctls so that each can go back to the value that natfleet found (DESIGN §6).
///
/// The value found is on disk before the first write. Turning on ends with forwarding; going back begins with it, since
/// writing `ip_forward` resets others (ip-sysctl: changing it resets `accept_redirects` and the per-interface keys).
struct SysctlLedger: Sendable {
    static let forwardingKeys = ["net.ipv4.ip_forward", "net.ipv6.conf.all.forwarding"]

    let kernel: any Kernel
    let files: any StateFiles
    /// Values found, by key.
    private(set) var found: [String: String]
    /// What this change has written, oldest first, with the value before.
    private(set) var written: [(key: String, before: String)] = []

    init(kernel: any Kernel, files: any StateFiles) throws(StateFileError) {
        self.kernel = kernel
        self.files = files
        self.found = try files.load([String: String].self, .sysctls) ?? [:]
    }

    /// Keys that natfleet changed and that are not wanted any more, forwarding first.
    func surplus(_ wanted: [SysctlSetting]) -> [String] {
        let wantedKeys = Set(wanted.map(\.key))
        let keys = found.keys.filter { !wantedKeys.contains($0) }.sorted()
        return keys.filter(Self.forwardingKeys.contains) + keys.filter { !Self.forwardingKeys.contains($0) }
    }

    /// Sets a key, if its condition holds for the value found, and reads it back. A key that the kernel does not have is
    /// passed over unless it is forwarding: its interface is gone.
    mutating func set(_ setting: SysctlSetting) throws(ChangeFailure) {
        guard let now = try reading(setting.key) else {
            if Self.forwardingKeys.contains(setting.key) {
                throw ChangeFailure("the kernel has no sysctl \(setting.key)")
            }
            return
        }
        guard now != setting.value, setting.isDue(found: found[setting.key] ?? now) else { return }
        if found[setting.key] == nil {
            found[setting.key] = now
            try save()
        }
        try write(setting.key, setting.value, now)
    }

    /// Sets a key back to the value found and forgets it.
    mutating func giveBack(_ key: String) throws(ChangeFailure) {
        guard let value = found[key] else { return }
        if let before = try reading(key), before != value { try write(key, value, before) }
        found[key] = nil
        try save()
    }

    /// Undoes what this change has written; failures are returned, not thrown, so that the rest is undone too.
    mutating func undo(_ foundBefore: [String: String]) -> [String] {
        var failures: [String] = []
        let writes = written.reversed()
        let ordered =
            writes.filter { Self.forwardingKeys.contains($0.key) }
            + writes.filter { !Self.forwardingKeys.contains($0.key) }
        for (key, before) in ordered {
            do throws(KernelError) { try kernel.setSysctl(key, before) } catch { failures.append(error.description) }
        }
        written = []
        found = foundBefore
        do throws(ChangeFailure) { try save() } catch { failures.append(error.description) }
        return failures
    }

    private mutating func write(_ key: String, _ value: String, _ before: String) throws(ChangeFailure) {
        do throws(KernelError) {
            try kernel.setSysctl(key, value)
        } catch {
            throw ChangeFailure(error.description)
        }
        written.append((key, before))
        let now = try reading(key)
        guard now == value else {
            throw ChangeFailure("sysctl \(key) was set to \(value) and reads \(now ?? "nothing")")
        }
    }

    private func reading(_ key: String) throws(ChangeFailure) -> String? {
        do throws(KernelError) { return try kernel.sysctl(key) } catch { throw ChangeFailure(error.description) }
    }

    private func save() throws(ChangeFailure) {
        do throws(StateFileError) { try files.save(found, .sysctls) } catch { throw ChangeFailure(error.description) }
    }
}

/// Why a change did not happen; what was there before runs on unless `leftovers` says otherwise.
struct ChangeFailure: Error, Hashable, Sendable, CustomStringConvertible {
    let reason: String
    /// What could not be taken back.
    var leftovers: [String] = []

    init(_ reason: String) { self.reason = reason }

    var description: String {
        leftovers.isEmpty ? reason : "\(reason); not taken back: \(leftovers.joined(separator: "; "))"
    }
}
