// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: natfleet contributors

import NATPolicy
import NetAddress
package import Netfilter

extension HostFacts {
    /// Why these rules must not be loaded beside those of the other back end, nil where nothing speaks against it.
    ///
    /// The kernel asks both back ends about each packet: whichever translates first wins, a drop of either is final, and
    /// neither shows the other's rules. Nobody could say what such a machine does.
    package func backEndConflict(with ruleset: Ruleset) -> String? {
        guard let others = iptables.otherRules, !others.isEmpty,
            IPFamily.allCases.contains(where: { !ruleset[$0].ownedState.isEmpty })
        else { return nil }
        let (own, other) = (iptables.backend.program, iptables.backend.other.program)
        let more = others.count > 4 ? " and \(others.count - 4) more" : ""
        return
            "iptables here is \(own), but \(other) holds rules too: \(others.prefix(4).joined(separator: ", "))\(more)"
    }
}

extension HostFacts.Iptables.Backend {
    fileprivate var program: String { "iptables-\(rawValue)" }
}
