// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: natfleet contributors

package import NetAddress
package import Netfilter

/// What an effective policy means on one host.
package struct CompiledPolicy: Hashable, Sendable {
    package var ruleset: Ruleset
    /// In the order in which to set them, before the rules.
    package var sysctls: [SysctlSetting]
    /// Forwarding itself: set last of all, after the rules were verified; reset first of all.
    package var forwarding: [SysctlSetting]
    /// The interface that the default route of each family leaves by.
    package var outside: [IPFamily: String]
    /// Who is translated, and where: the masquerades of all layers in order, one a family.
    package var masquerades: [CompiledMasquerade]
    /// Families that the policy forwards and that this host cannot route: forwarding stays off, since a kernel that forwards
    /// ignores the router advertisements that would bring the route, and nothing would guard the family when it came.
    package var heldBack: [IPFamily]
    /// What packets of the policy come in and go out by, where that is known.
    package var interfaces: Set<String>
    /// What `auto`, `self`, `vpc` and absent families turned out to be here, a sentence each.
    package var resolved: [String]
}

/// A masquerade in one family with nothing left to the host.
package struct CompiledMasquerade: Hashable, Sendable {
    /// `natfleet:<policy>/<name>`, the comment of its rules.
    package let label: String
    package let family: IPFamily
    /// Who leaves by it is translated to its address.
    package let interface: String
    /// `any` is the one network of everything.
    package let sources: [CIDR]
    /// Destinations forwarded untranslated.
    package let except: [CIDR]
    package let randomFully: Bool
}

/// The comment of all rules of an entry.
///
/// - Parameter name: `<policy>/<name>`.
package func ruleComment(_ name: String) -> String { "natfleet:\(name)" }

/// A kernel setting that must hold a value.
package struct SysctlSetting: Codable, Hashable, Sendable {
    /// When the setting is ours to make.
    package enum Condition: Codable, Hashable, Sendable {
        case always
        /// Only while the kernel holds another value than this one, with which somebody else says that he sees to it.
        case unless(String)
        /// Only where this value is found.
        case when(String)
    }

    /// As in sysctl.d: `net.ipv6.conf.eth0.accept_ra`; a dot in an interface's name is written `/`.
    package var key: String
    package var value: String
    package var condition: Condition

    package init(_ key: String, _ value: String, _ condition: Condition = .always) {
        self.key = key
        self.value = value
        self.condition = condition
    }

    /// An interface's name inside a key: sysctl(8) has a slash stand for a dot there.
    package static func keyPart(_ interface: String) -> String { String(interface.map { $0 == "." ? "/" : $0 }) }

    /// Below /proc/sys: `net/ipv6/conf/eth0/accept_ra`.
    package static func path(of key: String) -> String {
        String(key.map { $0 == "." ? "/" : $0 == "/" ? "." : $0 })
    }

    /// Whether a host that holds `now` needs this setting made.
    ///
    /// - Parameter found: the value before natfleet changed it, nil where it did not.
    package func isDue(now: String, found: String? = nil) -> Bool {
        guard now != value else { return false }
        return switch condition {
        case .always: true
        // He may have come after natfleet.
        case .unless(let other): now != other
        case .when(let other): (found ?? now) == other
        }
    }
}
