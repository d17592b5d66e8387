// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: natfleet contributors

import NATPolicy

/// Text of the files that systemd-sysctl reads at boot (sysctl.d(5)).
package enum SysctlFiles {
    /// For /etc/sysctl.d: what natfleet set besides forwarding. nil when that is nothing.
    ///
    /// A leading `-` lets a setting fail: its interface may come later (udev then runs systemd-sysctl for it), and only
    /// the first network namespace may size connection tracking.
    package static func text(_ state: PersistentState) -> String? {
        var lines = state.sysctls.map { setting in
            let isEverywhere = setting.key.split(separator: ".").dropFirst(3).first == "all"
            return "\(isEverywhere ? "" : "-")\(setting.key) = \(setting.value)"
        }
        if let size = state.conntrack {
            lines += size.settings.map { "-\($0.key) = \($0.value)" }
        }
        guard !lines.isEmpty else { return nil }
        return """
            # Written by natfleet-agent; changes are lost. Forwarding is not here on purpose: natfleet-forwarding.service
            # turns it on once the rules are there.
            \(lines.joined(separator: "\n"))

            """
    }

    /// For /etc/modules-load.d: without the module the keys of net.netfilter do not exist when the file above is read.
    package static let modules = """
        # Written by natfleet-agent: its sysctl settings need this module.
        nf_conntrack

        """

    /// Settings that turn forwarding on at boot, before any rule is there, as `FILE:LINE sets KEY = VALUE`.
    ///
    /// - Parameter files: in the order in which they are read; the last one that sets a key wins.
    package static func forwarding(in files: [(path: String, text: String)]) -> [String] {
        var last: [String: (place: String, value: String)] = [:]
        for (path, text) in files {
            for (number, line) in text.split(separator: "\n", omittingEmptySubsequences: false).enumerated() {
                let sides = line.split(separator: "=", maxSplits: 1).map { side in side.filter { !$0.isWhitespace } }
                guard sides.count == 2, let first = sides[0].first, first != "#", first != ";" else { continue }
                let key = dotted(first == "-" ? String(sides[0].dropFirst()) : sides[0])
                if turnsForwardingOn(key) { last[key] = ("\(path):\(number + 1)", sides[1]) }
            }
        }
        return last.filter { $0.value.value != "0" }.sorted { $0.key < $1.key }
            .map { "\($0.value.place) sets \($0.key) = \($0.value.value)" }
    }

    /// Either separator is good; the first one tells which.
    private static func dotted(_ key: String) -> String {
        guard key.first(where: { $0 == "." || $0 == "/" }) == "/" else { return key }
        return String(key.map { $0 == "/" ? "." : $0 == "." ? "/" : $0 })
    }

    private static func turnsForwardingOn(_ key: String) -> Bool {
        if key == "net.ipv4.ip_forward" { return true }
        let parts = key.split(separator: ".")
        return parts.count == 5 && (key.hasPrefix("net.ipv4.conf.") || key.hasPrefix("net.ipv6.conf."))
            && parts[4] == "forwarding"
    }
}
