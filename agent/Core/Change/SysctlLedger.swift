// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: natfleet contributors

import NATPolicy
import NetAddress

/// Sets sysctls so that each can go back to the value that natfleet found (DESIGN §6).
///
/// The value found is on disk before the first write. Turning on ends with forwarding; going back begins with it, since
/// writing it resets others (`SideEffect`), whose values found are kept with it and go back with it.
struct SysctlLedger: Sendable {
    static let forwardingKeys = IPFamily.allCases.map(\.forwardingKey)

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
        let kept = Set(wanted.map(\.key))
        let keys = found.keys.filter { !kept.contains($0) && SideEffect.cause(of: $0) == nil }.sorted()
        return keys.filter(Self.forwardingKeys.contains) + keys.filter { !Self.forwardingKeys.contains($0) }
    }

    /// Remembers the values of all keys that are about to be set, in one write.
    mutating func remember(_ settings: [SysctlSetting]) throws(ChangeFailure) {
        let before = found
        for setting in settings {
            if let now = try reading(setting.key) { _ = try remember(setting, now) }
        }
        if found != before { try save() }
    }

    /// - Returns: whether it is to be set.
    private mutating func remember(_ setting: SysctlSetting, _ now: String) throws(ChangeFailure) -> Bool {
        let known = found[setting.key]
        guard setting.isDue(now: now, found: known) else { return false }
        if known == nil {
            found[setting.key] = now
            try found.merge(sideEffects(of: setting.key)) { $1 }
        }
        return true
    }

    /// Sets a key, if its condition holds, and reads it back. A key that the kernel does not have is passed over unless it is
    /// forwarding: its interface is gone. What somebody else sees to by now is forgotten: it is his, and no value goes back.
    mutating func set(_ setting: SysctlSetting) throws(ChangeFailure) {
        guard let now = try reading(setting.key) else {
            if Self.forwardingKeys.contains(setting.key) {
                throw ChangeFailure("the kernel has no sysctl \(setting.key)")
            }
            return
        }
        if case .unless(now) = setting.condition, found.removeValue(forKey: setting.key) != nil {
            // As in `giveBack`.
            try? files.save(found, .sysctls)
        }
        let before = found
        guard try remember(setting, now) else { return }
        if found != before { try save() }
        try write(setting.key, setting.value, now)
    }

    /// Sets a key, and what goes with it, back to the value found and forgets it.
    mutating func giveBack(_ key: String) throws(ChangeFailure) {
        for key in [key] + found.keys.filter({ SideEffect.cause(of: $0) == key }).sorted() {
            guard let value = found[key] else { continue }
            if let before = try reading(key), before != value { try write(key, value, before) }
            found[key] = nil
        }
        // A line too many does no harm while the disk takes nothing: it says what is the case again, and goes next time.
        try? files.save(found, .sysctls)
    }

    /// The values now of everything that a change to `wanted` may touch.
    func values(around wanted: [SysctlSetting]) throws(ChangeFailure) -> [String: String] {
        var values: [String: String] = [:]
        for key in Set(wanted.map(\.key)).union(found.keys) {
            values[key] = try reading(key)
            try values.merge(sideEffects(of: key)) { $1 }
        }
        return values
    }

    /// What writing a key would set by itself and to another value than the one now.
    private func sideEffects(of key: String) throws(ChangeFailure) -> [String: String] {
        guard let family = IPFamily.allCases.first(where: { $0.forwardingKey == key }) else { return [:] }
        var values: [String: String] = [:]
        if family == .ipv4 { values[SideEffect.redirects] = try reading(SideEffect.redirects) }
        let everywhere = try reading(key)
        for interface in kernel.interfacesInKeys(family) where interface != ProbeInterface.name {
            let apart = SideEffect.forwardingKey(family, of: interface)
            if let value = try reading(apart), value != everywhere { values[apart] = value }
        }
        return values
    }

    /// The way back, first part: forwarding that was off before goes off before the rules change. Failures of this and of
    /// `putBack` are returned, not thrown, so that the rest is undone too.
    static func turnForwardingOff(_ before: Snapshot, _ kernel: any Kernel) -> [String] {
        set(forwardingKeys.filter { before.sysctls[$0] == "0" }, as: before, kernel)
    }

    /// The rest of the way back, once the rules are there: forwarding that was on comes after what it needs, then what
    /// the kernel sets by itself when forwarding is written.
    ///
    /// - Parameter forwardable: families whose rules are what they were; the others are not made to forward.
    static func putBack(
        _ before: Snapshot, forwarding forwardable: Set<IPFamily>, _ kernel: any Kernel, _ files: any StateFiles
    ) -> [String] {
        let keys = before.sysctls.keys.sorted()
        let switches = IPFamily.allCases.filter(forwardable.contains).map(\.forwardingKey)
        let last = keys.filter { SideEffect.cause(of: $0) != nil }
        let first = keys.filter { !forwardingKeys.contains($0) && !last.contains($0) }
        var failures = set(first + switches + last, as: before, kernel)
        do throws(StateFileError) {
            let kept = try files.load([String: String].self, .sysctls) ?? [:]
            // As in `giveBack`.
            let isWhole = before.found.allSatisfy { kept[$0.key] == $0.value }
            do throws(StateFileError) {
                if kept != before.found { try files.save(before.found, .sysctls) }
            } catch  where isWhole {}
        } catch {
            failures.append(error.description)
        }
        return failures
    }

    /// The way back where a reboot has put the kernel back: values found that the change had given back, and so forgotten.
    /// They are not found again, since a file of settings has set those keys before natfleet looked.
    static func recall(_ before: Snapshot, _ files: any StateFiles) throws(StateFileError) {
        let found = try files.load([String: String].self, .sysctls) ?? [:]
        let whole = before.found.merging(found) { before, _ in before }
        if whole != found { try files.save(whole, .sysctls) }
    }

    private static func set(_ keys: [String], as before: Snapshot, _ kernel: any Kernel) -> [String] {
        keys.compactMap { key in
            do throws(KernelError) {
                // A key that is gone went with its interface.
                guard let value = before.sysctls[key], let now = try kernel.sysctl(key), now != value else {
                    return nil
                }
                try kernel.setSysctl(key, value)
                return nil
            } catch {
                return error.description
            }
        }
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

/// What the kernel sets by itself when forwarding is written: inet_forward_change and addrconf_fixup_forwarding.
enum SideEffect {
    /// Gets the opposite of forwarding.
    static let redirects = "net.ipv4.conf.all.accept_redirects"

    /// One interface's, or that of those to come: gets the same.
    static func forwardingKey(_ family: IPFamily, of interface: String) -> String {
        "\(prefix(family))\(interface).forwarding"
    }

    /// The key that sets this one; nil where none does.
    static func cause(of key: String) -> String? {
        if key == redirects { return IPFamily.ipv4.forwardingKey }
        return IPFamily.allCases.first { family in
            key.hasPrefix(prefix(family)) && key.hasSuffix(".forwarding") && key != family.forwardingKey
        }?.forwardingKey
    }

    private static func prefix(_ family: IPFamily) -> String { "net.\(family.rawValue).conf." }
}

/// Why a change did not happen; what was there before runs on unless `leftovers` says otherwise.
struct ChangeFailure: Error, Hashable, Sendable, CustomStringConvertible {
    let reason: String
    /// What could not be taken back.
    var leftovers: [String] = []
    var cause: FailureCause?

    init(_ reason: String) { self.reason = reason }

    init(_ error: KernelError) { (reason, cause) = (error.description, error.cause) }

    var description: String {
        leftovers.isEmpty ? reason : "\(reason); not taken back: \(leftovers.joined(separator: "; "))"
    }
}
