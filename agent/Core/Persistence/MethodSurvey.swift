// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: natfleet contributors

/// What systemd says of a unit.
package struct UnitState: Hashable, Sendable {
    /// LoadState: `loaded`, `not-found`, `masked`.
    package var load: String
    /// UnitFileState: `enabled`, `disabled`, `static`; empty for a unit without a file.
    package var file: String
    /// ActiveState: `active`, `inactive`, `failed`.
    package var active: String

    package init(load: String, file: String, active: String) {
        self.load = load
        self.file = file
        self.active = active
    }

    package var isThere: Bool { load == "loaded" }
    package var isEnabled: Bool { isThere && (file == "enabled" || file == "static" || file == "generated") }
    package var isActive: Bool { active == "active" || active == "activating" || active == "reloading" }
    package var isMasked: Bool { load == "masked" || file == "masked" }

    /// Reads `systemctl show --property=Id,LoadState,UnitFileState,ActiveState UNIT…`: a block of KEY=VALUE lines each,
    /// in the order in which they were asked for. Asked by their names, since an alias shows another Id.
    package static func parse(_ text: String, asked units: [String]) -> [String: UnitState] {
        var blocks: [[Substring: Substring]] = [[:]]
        for line in text.split(separator: "\n", omittingEmptySubsequences: false) {
            guard let equals = line.firstIndex(of: "=") else {
                if blocks.last?.isEmpty == false { blocks.append([:]) }
                continue
            }
            blocks[blocks.count - 1][line[..<equals]] = line[line.index(after: equals)...]
        }
        var states: [String: UnitState] = [:]
        for (unit, block) in zip(units, blocks) {
            states[unit] = UnitState(
                load: String(block["LoadState"] ?? ""), file: String(block["UnitFileState"] ?? ""),
                active: String(block["ActiveState"] ?? ""))
        }
        return states
    }
}

/// What decides how a machine saves its rules.
package struct MethodSurvey: Hashable, Sendable {
    /// nil where this machine is not run by systemd.
    package var units: [String: UnitState]?
    /// /usr/libexec/iptables/iptables.init or its configuration: other distributions have an iptables.service as well.
    package var hasInitScript = false
    /// 15-ip4tables and 25-ip6tables, without which netfilter-persistent saves nothing and returns 0.
    package var hasPlugins = false
    /// netfilter-persistent is told not to save.
    package var skipsSave = false
    /// ufw's own switch: its unit is enabled on each Ubuntu.
    package var ufwIsOn = false

    package init(units: [String: UnitState]?) { self.units = units }

    /// Its configuration counts at boot.
    package var usesNetworkd: Bool { units?[Self.networkd].map { $0.isEnabled || $0.isActive } ?? false }

    package static let forwardingUnit = "natfleet-forwarding.service"
    package static let iptablesUnits = ["iptables.service", "ip6tables.service"]
    package static let netfilterPersistent = "netfilter-persistent.service"
    package static let networkd = "systemd-networkd.service"
    package static let allUnits =
        [forwardingUnit, netfilterPersistent, "firewalld.service", "ufw.service", "nftables.service", networkd]
        + iptablesUnits

    /// Those that load whole rulesets of their own exclude the distribution's restore: starting one stops the other, or
    /// flushes what the other loaded.
    package var method: PersistenceMethod {
        guard let units else { return .own(reason: "this machine is not run by systemd") }
        func isInCharge(_ unit: String) -> Bool {
            units[unit].map { $0.isThere && ($0.isEnabled || $0.isActive) } ?? false
        }
        if isInCharge("firewalld.service") { return .own(reason: "firewalld is in charge") }
        if ufwIsOn, isInCharge("ufw.service") { return .own(reason: "ufw is in charge") }
        if isInCharge("nftables.service") { return .own(reason: "nftables.service loads a ruleset of its own") }

        let iptables = Self.iptablesUnits.compactMap { units[$0] }
        if hasInitScript, iptables.count == 2, iptables.allSatisfy({ $0.isThere || $0.isMasked }) {
            guard let masked = Self.iptablesUnits.first(where: { units[$0]?.isMasked == true }) else {
                return .iptablesServices
            }
            return .own(reason: "\(masked) is masked")
        }
        guard let persistent = units[Self.netfilterPersistent], persistent.isThere || persistent.isMasked else {
            return .own(reason: "neither iptables-services nor netfilter-persistent is installed")
        }
        if persistent.isMasked { return .own(reason: "\(Self.netfilterPersistent) is masked") }
        guard hasPlugins else {
            return .own(reason: "netfilter-persistent is installed without iptables-persistent and saves nothing")
        }
        return skipsSave ? .own(reason: "netfilter-persistent is told to skip saving") : .netfilterPersistent
    }

    /// The units that restore at boot, which have to be enabled.
    package func unitsNeeded(_ method: PersistenceMethod) -> [String] {
        guard units != nil else { return [] }
        return switch method {
        case .iptablesServices: [Self.forwardingUnit] + Self.iptablesUnits
        case .netfilterPersistent: [Self.forwardingUnit, Self.netfilterPersistent]
        case .own: [Self.forwardingUnit]
        }
    }
}
