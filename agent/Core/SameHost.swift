// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: natfleet contributors

package import NATPolicy
import NetAddress

extension HostFacts {
    /// Whether a policy meets the same host again: it compiles to the same, for the same back end of iptables, and addresses
    /// and routes of what its packets pass are the same.
    ///
    /// Interfaces of containers come and go all day, and are no reason to try a reverted policy again or to save anew.
    package func isSame(as other: HostFacts, to policy: EffectivePolicy) -> Bool {
        if isAlike(other) { return true }
        let (mine, theirs) = (essence, other.essence)
        guard mine.iptables == theirs.iptables, mine.controller == theirs.controller,
            let now = try? compile(policy, on: mine), let then = try? compile(policy, on: theirs), now == then
        else { return false }
        return mine.routed(by: now.interfaces) == theirs.routed(by: now.interfaces)
    }

    /// The same to any policy.
    func isAlike(_ other: HostFacts) -> Bool { essence == other.essence }

    /// Without what no policy rests on: link-local addresses and routes, interfaces that have no others.
    private var essence: HostFacts {
        var facts = self
        facts.interfaces = interfaces.compactMap { interface in
            let addresses = interface.addresses.filter { !$0.address.isLinkLocal }
            return addresses.isEmpty ? nil : Interface(name: interface.name, addresses: addresses)
        }
        facts.routes.removeAll { $0.destination.address.isLinkLocal || $0.destination.address.isMulticast }
        return facts
    }

    private func routed(by names: Set<String>) -> HostFacts {
        var facts = self
        facts.interfaces.removeAll { !names.contains($0.name) }
        facts.routes.removeAll { !names.contains($0.interface) }
        return facts
    }
}
