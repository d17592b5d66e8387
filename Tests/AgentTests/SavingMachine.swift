// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: natfleet contributors

import AgentCore
import Foundation
import NATPolicy
import NetAddress
import Netfilter

@testable import AgentDataplane

/// A machine below a folder of its own, with stand-ins for the programs of its distribution.
final class SavingMachine: Sendable {
    enum Kind {
        case redHat
        case debian
        case bare
    }

    let root: String

    private var files: FileManager { .default }

    init(_ kind: Kind) throws {
        root = FileManager.default.temporaryDirectory.appending(path: "natfleet-machine-\(UUID().uuidString)").path()
        try write("uid", "0\n")
        try write("run/systemd/system/x", "")
        try unit("natfleet-forwarding.service", "loaded enabled active")
        try program("usr/bin/systemctl", PersistenceScripts.systemctl)
        for family in IPFamily.allCases {
            let name = Self.name(family)
            try program("usr/sbin/\(name)", "#!/bin/bash\n")
            try program("usr/sbin/\(name)-save", PersistenceScripts.save, family)
            try program("usr/sbin/\(name)-restore", PersistenceScripts.restore, family)
            try write("kernel.\(name)", Self.kernel(family))
            switch kind {
            case .bare: break
            case .redHat:
                try unit("\(name).service", "loaded disabled inactive")
                try program("usr/libexec/iptables/\(name).init", PersistenceScripts.initScript, family)
                try program(
                    "usr/libexec/initscripts/legacy-actions/\(name)/save", PersistenceScripts.legacyAction, family)
                try write("etc/sysconfig/\(name)-config", "\(name.uppercased())_SAVE_ON_STOP=\"no\"\n")
            case .debian:
                let plugin = family == .ipv4 ? "15-ip4tables" : "25-ip6tables"
                try program("usr/share/netfilter-persistent/plugins.d/\(plugin)", PersistenceScripts.plugin, family)
            }
        }
        switch kind {
        case .bare: break
        case .redHat:
            try program("usr/sbin/service", PersistenceScripts.service)
            try program("usr/sbin/restorecon", "#!/bin/bash\n")
        case .debian:
            try unit("netfilter-persistent.service", "loaded enabled active")
            try program("usr/sbin/netfilter-persistent", PersistenceScripts.netfilterPersistent)
            try files.createDirectory(atPath: "\(root)/etc/iptables", withIntermediateDirectories: true)
        }
    }

    deinit { try? files.removeItem(atPath: root) }

    /// - Parameter limit: for the distribution's save.
    func persistence(limit: Duration = .seconds(20)) -> LinuxPersistence {
        let folders = ["\(root)/usr/sbin", "\(root)/usr/bin", "/usr/bin", "/bin"]
        return LinuxPersistence(root: root, runner: CommandRunner(folders: folders), savingLimit: limit)
    }

    static func name(_ family: IPFamily) -> String { family == .ipv4 ? "iptables" : "ip6tables" }

    /// What the package brings, with natfleet's rules in it.
    static func kernel(_ family: IPFamily) -> String {
        """
        *nat
        :PREROUTING ACCEPT [0:0]
        :POSTROUTING ACCEPT [0:0]
        :NATFLEET-POST - [0:0]
        -A POSTROUTING -j NATFLEET-POST
        -A NATFLEET-POST -s \(family == .ipv4 ? "10.0.0.0/16" : "2001:db8::/56") -o eth0 -j MASQUERADE
        COMMIT
        *filter
        :INPUT ACCEPT [0:0]
        :FORWARD ACCEPT [0:0]
        :NATFLEET-FWD - [0:0]
        -A INPUT -p tcp -m state --state NEW -m tcp --dport 22 -j ACCEPT
        -A FORWARD -j NATFLEET-FWD
        -A FORWARD -j REJECT --reject-with \(family == .ipv4 ? "icmp-host-prohibited" : "icmp6-adm-prohibited")
        -A NATFLEET-FWD -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
        COMMIT

        """
    }

    func wanted() throws -> PersistentState {
        var rules: [IPFamily: OwnedState] = [:]
        for family in IPFamily.allCases {
            rules[family] = try OwnedState(parsing: text("kernel.\(Self.name(family))") ?? "")
        }
        return PersistentState(
            rules: rules,
            sysctls: [
                SysctlSetting("net.ipv4.conf.all.send_redirects", "0"),
                SysctlSetting("net.ipv6.conf.eth0.accept_ra", "2"), SysctlSetting("net.ipv4.ip_forward", "1"),
            ], conntrack: .automatic(memoryKiB: 1 << 20))
    }

    /// The file that is loaded at boot.
    func saved(_ family: IPFamily, _ kind: Kind) -> String? {
        switch kind {
        case .redHat: text("etc/sysconfig/\(Self.name(family))")
        case .debian: text("etc/iptables/rules.\(family == .ipv4 ? "v4" : "v6")")
        case .bare: nil
        }
    }

    func write(_ path: String, _ text: String) throws {
        let url = URL(filePath: "\(root)/\(path)")
        try files.createDirectory(at: url.deletingLastPathComponent(), withIntermediateDirectories: true)
        try Data(text.utf8).write(to: url)
    }

    func text(_ path: String) -> String? {
        files.contents(atPath: "\(root)/\(path)").map { String(decoding: $0, as: UTF8.self) }
    }

    /// What the distribution's service does at boot.
    func start(_ family: IPFamily) async throws {
        let script = "\(root)/usr/libexec/iptables/\(Self.name(family)).init"
        let folders = ["\(root)/usr/sbin", "\(root)/usr/bin", "/usr/bin", "/bin"]
        _ = try await CommandRunner(folders: folders).run(script, ["start"])
    }

    func mode(_ path: String) -> Int? {
        (try? files.attributesOfItem(atPath: "\(root)/\(path)"))?[.posixPermissions] as? Int
    }

    func remove(_ path: String) throws { try files.removeItem(atPath: "\(root)/\(path)") }

    func names(in folder: String) -> [String] {
        ((try? files.contentsOfDirectory(atPath: "\(root)/\(folder)")) ?? []).sorted()
    }

    /// As a container is: the distribution's files, and nobody who runs units.
    func leaveSystemd() throws { try remove("run/systemd/system") }

    /// - Parameter state: load state, unit file state (`-` for none), active state.
    func unit(_ name: String, _ state: String) throws { try write("units/\(name)", state + "\n") }

    private func program(_ path: String, _ text: String, _ family: IPFamily = .ipv4) throws {
        try write(
            path,
            text.replacing("@ROOT@", with: root).replacing("@NAME@", with: Self.name(family))
                .replacing("@VERSION@", with: family == .ipv4 ? "v4" : "v6"))
        try files.setAttributes([.posixPermissions: 0o755], ofItemAtPath: "\(root)/\(path)")
    }
}
