// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: natfleet contributors

import NATPolicy

/// Sets sysctls so that each can go back to the value that natfleet found (DESIGN §6).
///
/// The value found is on disk before the first write. Turning on ends with forwarding; going back begins with it, since
/// writing `ip_forward` resets others, whose values found are kept with it and go back with it.
struct SysctlLedger: Sendable {
    static let forwardingKeys = ["net.ipv4.ip_forward", "net.ipv6.conf.all.forwarding"]
    /// What the kernel sets by itself when a key is written (inet_forward_change: the opposite of forwarding).
    static let sideEffects = ["net.ipv4.ip_forward": ["net.ipv4.conf.all.accept_redirects"]]

    let kernel: any Kernel
    let files: any StateFiles
    /// Values found, by key.
    private(set) var found: [String: String]
    /// What this change has written, oldest first, with the value before.
    private(set) var written: [(key: String, before: String)] = []
    /// What the kernel may have set by itself since, oldest first, with the value before.
    private var disturbed: [(key: String, before: String)] = []

    init(kernel: any Kernel, files: any StateFiles) throws(StateFileError) {
        self.kernel = kernel
        self.files = files
        self.found = try files.load([String: String].self, .sysctls) ?? [:]
    }

    /// Keys that natfleet changed and that are not wanted any more, forwarding first.
    func surplus(_ wanted: [SysctlSetting]) -> [String] {
        let kept = Set(wanted.map(\.key)).union(Self.sideEffects.values.joined())
        let keys = found.keys.filter { !kept.contains($0) }.sorted()
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
            for side in Self.sideEffects[setting.key] ?? [] { found[side] = try reading(side) }
            try save()
        }
        try write(setting.key, setting.value, now)
    }

    /// Sets a key, and what goes with it, back to the value found and forgets it.
    mutating func giveBack(_ key: String) throws(ChangeFailure) {
        for key in [key] + (Self.sideEffects[key] ?? []) {
            guard let value = found[key] else { continue }
            if let before = try reading(key), before != value { try write(key, value, before) }
            found[key] = nil
        }
        try save()
    }

    /// Turns off again what forwarding this change has turned on: before the rules go back. Failures of this and of
    /// `undoRest` are returned, not thrown, so that the rest is undone too.
    func undoForwardingOn() -> [String] {
        undo(written.reversed().filter { Self.forwardingKeys.contains($0.key) && $0.before == "0" })
    }

    /// Undoes all else that this change has written, once the rules are back: forwarding that was on comes after what it
    /// needs.
    mutating func undoRest(_ foundBefore: [String: String]) -> [String] {
        let writes = written.reversed()
        var failures = undo(writes.filter { !Self.forwardingKeys.contains($0.key) })
        failures += undo(writes.filter { Self.forwardingKeys.contains($0.key) && $0.before != "0" })
        failures += undo(disturbed.reversed())
        (written, disturbed) = ([], [])
        guard found != foundBefore else { return failures }
        found = foundBefore
        do throws(ChangeFailure) { try save() } catch { failures.append(error.description) }
        return failures
    }

    private func undo(_ writes: [(key: String, before: String)]) -> [String] {
        writes.compactMap { key, before in
            do throws(KernelError) {
                if try kernel.sysctl(key) != before { try kernel.setSysctl(key, before) }
                return nil
            } catch {
                return error.description
            }
        }
    }

    private mutating func write(_ key: String, _ value: String, _ before: String) throws(ChangeFailure) {
        for side in Self.sideEffects[key] ?? [] {
            if let now = try reading(side) { disturbed.append((side, now)) }
        }
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
