// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: natfleet contributors

package import NATPolicy
package import NetAddress
package import Netfilter

/// Makes what runs now survive a reboot, by the distribution's own means, and proves it from disk (DESIGN §6,
/// *persisted*).
///
/// Goals: at boot the machine has the rules that were confirmed last, or does not forward. Approach: the distribution's
/// own save where there is one, its files read back and compared; what it gets wrong is written by ourselves. Forwarding
/// is never saved: `natfleet-forwarding.service` turns it on once the rules are there.
///
/// The distribution saves every rule of the machine, so `save` belongs after a confirmed change and never into a trial.
/// Nothing here throws: a machine that cannot save goes on translating, shows the faults and is asked again.
package protocol Persistence: Sendable {
    /// Found by what is installed and enabled now.
    func method() async -> PersistenceMethod
    /// Saves rules of both families and settings, enables the units, then reads all of it back.
    func save(_ wanted: PersistentState) async -> PersistenceReport
    /// Checks, and makes good what is not as it should be: nothing that is right is saved again, since that takes rules of
    /// others with it that may be gone in a minute.
    func mend(_ wanted: PersistentState) async -> PersistenceReport
    /// Whether the files still say `wanted`: for start, and cheap enough for every few minutes. Changes nothing.
    func check(_ wanted: PersistentState) async -> PersistenceReport
    /// For uninstall: own chains out of the saved files, own files gone, own unit off.
    /// - Returns: what could not be removed, as sentences.
    func remove() async -> [String]
    /// The distribution's own units that load saved rules at boot, as far as they are enabled: by natfleet or before it.
    func enabledUnits() async -> [String]
}

/// Which way of saving a machine has.
package enum PersistenceMethod: Hashable, Sendable {
    /// `service iptables save`: Amazon Linux, the RHEL family.
    case iptablesServices
    /// `netfilter-persistent save`: Debian, Ubuntu, with the package iptables-persistent.
    case netfilterPersistent
    /// The agent's state folder and natfleet-forwarding.service only. `reason`: why no other, lower case, no final period.
    case own(reason: String)
}

extension PersistenceMethod: CustomStringConvertible {
    package var description: String {
        switch self {
        case .iptablesServices: "iptables-services"
        case .netfilterPersistent: "netfilter-persistent"
        case .own(let reason): "natfleet's own (\(reason))"
        }
    }
}

/// What has to be there after a reboot.
package struct PersistentState: Hashable, Sendable {
    /// natfleet's own chains and jumps by family, as this host's `iptables-save` spells them; a missing family is `.none`.
    package var rules: [IPFamily: OwnedState]
    /// Kernel settings that natfleet made; forwarding among them is left out, whatever was passed.
    package var sysctls: [SysctlSetting]
    /// nil where connection tracking keeps the size that it has.
    package var conntrack: ConntrackSize?

    package init(
        rules: [IPFamily: OwnedState], sysctls: [SysctlSetting] = [], conntrack: ConntrackSize? = nil
    ) {
        self.rules = rules
        self.sysctls = sysctls.filter { !SysctlLedger.forwardingKeys.contains($0.key) }
        self.conntrack = conntrack
    }

    /// - Parameters:
    ///   - sysctls: as compiled, those included that are not due on this machine.
    ///   - found: values before natfleet changed them: what it did not have to change is not saved.
    package init(
        rules: [IPFamily: OwnedState], sysctls: [SysctlSetting], found: [String: String], conntrack: ConntrackSize?
    ) {
        self.init(rules: rules, sysctls: sysctls.filter { found[$0.key] != nil }, conntrack: conntrack)
    }
}

/// How saving, or looking at what was saved, ended.
package struct PersistenceReport: Hashable, Sendable {
    package var method: PersistenceMethod
    /// Empty exactly when all of it is on disk.
    package var faults: [PersistenceFault]
    /// What went another way than usual and is right nevertheless, for the log.
    package var notes: [String]

    package init(method: PersistenceMethod, faults: [PersistenceFault] = [], notes: [String] = []) {
        self.method = method
        self.faults = faults
        self.notes = notes
    }

    /// No fault of a kind that loses rules or settings with a reboot; warnings may be there.
    package var isPersisted: Bool { !faults.contains { $0.kind.losesState } }
}
