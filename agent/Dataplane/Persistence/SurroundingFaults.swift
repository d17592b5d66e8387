// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: natfleet contributors

import AgentCore
import NetAddress

/// What others configured that would undo a save, or leak at boot. Files that can't be read count as missing.
struct SurroundingFaults: Sendable {
    let root: Root

    func all(_ method: PersistenceMethod, _ survey: MethodSurvey) -> [PersistenceFault] {
        let found =
            SysctlFiles.forwarding(in: sysctlFiles + ufwSettings) + initscripts
            + (survey.usesNetworkd ? networkdSettings : [])
        return (method == .iptablesServices ? savesOnStop : []) + found.map { PersistenceFault(.forwardsAtBoot, $0) }
    }

    /// netfilter-persistent's own switch, for either family.
    var skipsSave: Bool {
        let values = shellValues("/etc/default/netfilter-persistent")
        return values["IPTABLES_SKIP_SAVE"] == "yes" || values["IP6TABLES_SKIP_SAVE"] == "yes"
    }

    var ufwIsOn: Bool { shellValues("/etc/ufw/ufw.conf")["ENABLED"] == "yes" }

    /// A stop or restart of the service in a trial would save the trial.
    private var savesOnStop: [PersistenceFault] {
        IPFamily.allCases.flatMap { family in
            let name = family.program("")
            let path = "/etc/sysconfig/\(name)-config"
            let values = shellValues(path)
            return ["STOP", "RESTART"].map { "\(name.uppercased())_SAVE_ON_\($0)" }.filter { values[$0] == "yes" }
                .map { PersistenceFault(.savesOnStop, "\(path) has \($0)=yes", family: family) }
        }
    }

    /// How the network service of the RHEL family, before NetworkManager, turned IPv6 forwarding on.
    private var initscripts: [String] {
        let path = "/etc/sysconfig/network"
        return shellValues(path)["IPV6FORWARDING"] == "yes" ? ["\(path) has IPV6FORWARDING=yes"] : []
    }

    /// systemd.network(5) and networkd.conf(5), additions included; a folder further down hides files of the same name above.
    private var networkdSettings: [String] {
        var paths: [String: String] = [:]
        for top in ["/usr/lib/systemd", "/usr/local/lib/systemd", "/run/systemd", "/etc/systemd"] {
            let networks = root.names(in: "\(top)/network").map { "network/\($0)" }
            let additions = (["networkd.conf.d"] + networks.filter { $0.hasSuffix(".network.d") }).flatMap { folder in
                root.names(in: "\(top)/\(folder)").filter { $0.hasSuffix(".conf") }.map { "\(folder)/\($0)" }
            }
            for name in ["networkd.conf"] + networks.filter({ $0.hasSuffix(".network") }) + additions
            where root.isThere("\(top)/\(name)") {
                paths[name] = "\(top)/\(name)"
            }
        }
        return paths.sorted { $0.key < $1.key }.flatMap { NetworkdFiles.forwarding(in: text($0.value), of: $0.value) }
    }

    /// As systemd-sysctl reads them (sysctl.d(5)): by name, a folder above hiding files of the same name below;
    /// /etc/sysctl.conf at the end, as `sysctl -p` does: mostly it is there as 99-sysctl.conf already, and this is where a
    /// person looks.
    private var sysctlFiles: [(path: String, text: String)] {
        var paths: [String: String] = [:]
        for folder in ["/usr/lib/sysctl.d", "/usr/local/lib/sysctl.d", "/run/sysctl.d", "/etc/sysctl.d"] {
            for name in root.names(in: folder) where name.hasSuffix(".conf") { paths[name] = "\(folder)/\(name)" }
        }
        let inOrder = paths.sorted { $0.key < $1.key }.map(\.value) + ["/etc/sysctl.conf"]
        return inOrder.map { ($0, text($0)) }
    }

    /// What ufw sets by itself when it starts, after all others.
    private var ufwSettings: [(path: String, text: String)] {
        guard ufwIsOn, let path = shellValues("/etc/default/ufw")["IPT_SYSCTL"], !path.isEmpty else { return [] }
        return [(path, text(path))]
    }

    private func text(_ path: String) -> String { (try? root.text(path)) ?? "" }

    /// KEY=VALUE lines that a shell would read; the last one wins.
    private func shellValues(_ path: String) -> [String: String] {
        var values: [String: String] = [:]
        for line in text(path).split(separator: "\n") {
            let sides = line.split(separator: "=", maxSplits: 1)
            guard sides.count == 2, !line.hasPrefix("#") else { continue }
            let value = sides[1].prefix { $0 != "#" }.filter { !$0.isWhitespace && $0 != "\"" && $0 != "'" }
            values[sides[0].filter { !$0.isWhitespace }] = value
        }
        return values
    }
}
