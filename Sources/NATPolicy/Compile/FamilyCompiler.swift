// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: natfleet contributors

import NetAddress
import Netfilter

/// Writes one family's rules from resolved entries. Several chains and several files, one order: see each.
struct FamilyCompiler {
    let family: IPFamily
    let masquerades: [CompiledMasquerade]
    let forwards: [ResolvedForward]
    let facts: HostFacts
    let hasGuard: Bool
    /// Interfaces that lead outside: those of the masquerades and that of the default route.
    let outside: [String]
    /// Interfaces that private clients arrive on, as far as that is known; on one interface the outside one.
    let arrivals: [String]
    /// Where the other family leaves, for a family that has no way out yet.
    let otherOutside: [String]
    let isForwarded: Bool
    let tree: PortTree

    init(_ family: IPFamily, entries: ResolvedEntries, policy: EffectivePolicy, facts: HostFacts) {
        self.family = family
        self.facts = facts
        masquerades = entries.masquerades.filter { $0.family == family }
        forwards = entries.forwards.filter { $0.entry.family == family }
        isForwarded = policy.forwarding[family]
        tree = PortTree(Set(forwards.flatMap { $0.admissions.map(\.destination) }))
        // A policy that translates nothing leaves to others what is forwarded.
        hasGuard =
            policy.guard && isForwarded && !(entries.masquerades.isEmpty && entries.forwards.isEmpty)
        var outside = masquerades.map(\.interface)
        if let name = entries.outside[family], canBeWritten(name) { outside.append(name) }
        let other = entries.outside[family == .ipv4 ? .ipv6 : .ipv4]
        otherOutside = [other].compactMap(\.self).filter(canBeWritten)
        self.outside = outside.reduce(into: []) { if !$0.contains($1) { $0.append($1) } }
        arrivals = Self.arrivals(family, entries, facts).filter(canBeWritten)
    }

    /// Asked for, and without a way out or a rule here.
    var isHeldBack: Bool { isForwarded && outside.isEmpty && forwards.isEmpty }

    var rules: FamilyRules {
        var rules = FamilyRules()
        let accepted = tree.spread(acceptedForwards, in: "NATFLEET-FWD", by: .original)
        let forward = forwardRules(forwards: accepted.rules)
        rules.filter.add("NATFLEET-FWD", from: .forward, rules: forward, below: accepted.below)
        if !forward.isEmpty { rules.filter.add("NATFLEET-OUT", from: .output, rules: outputRules) }
        let mapped = tree.spread(mappedForwards, in: "NATFLEET-PRE", by: .written)
        rules.nat.add("NATFLEET-PRE", from: .prerouting, rules: mapped.rules, below: mapped.below)
        let hidden = tree.spread(hiddenForwards, in: "NATFLEET-POST", by: .original)
        let post = hidden.rules + masqueradeRules
        rules.nat.add("NATFLEET-POST", from: .postrouting, rules: post, below: hidden.below)
        return rules
    }

    /// The networks that this family's masquerades and the VPC name; everything where one says `any`.
    var privateNetworks: [CIDR] {
        withoutOverlaps(facts.vpcCIDRs(family) + masquerades.flatMap(\.sources))
    }

    /// By the sources of the family's masquerades; else by those of the other family, whose clients are the same
    /// machines; else, for port forwards only, the outside interface where their targets are reached by it as well. A
    /// target behind another interface tells nothing: that may be a bridge to containers, whose egress is not ours.
    private static func arrivals(_ family: IPFamily, _ entries: ResolvedEntries, _ facts: HostFacts) -> [String] {
        for candidate in [family, family == .ipv4 ? .ipv6 : .ipv4] {
            let networks = entries.masquerades.filter { $0.family == candidate }.flatMap(\.sources)
            if !networks.isEmpty { return facts.arrivals(from: networks) }
        }
        guard let outside = entries.outside[family] else { return [] }
        return entries.forwards.contains { facts.interface(towards: $0.entry.to.address) == outside } ? [outside] : []
    }
}
