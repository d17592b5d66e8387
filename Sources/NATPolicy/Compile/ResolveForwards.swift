// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: natfleet contributors

import NetAddress

/// Port forwards.
extension Resolver {
    mutating func resolve(
        _ layered: EffectivePolicy.Layered<PortForward>, in entries: ResolvedEntries
    ) -> ResolvedForward? {
        let entry = layered.entry
        let name = "\(layered.policy)/\(entry.name)"
        let family = entry.family
        let before = faults.count
        if !policy.forwarding[family] {
            fail(
                layered.policy, entry.name, "the policy does not forward \(family.label)",
                remedy: "write forwarding.\(family.rawValue): true, or remove the port forward")
        }
        if !hasRoute(to: entry.to.address) {
            fail(
                layered.policy, entry.name, "this host has no route to \(entry.to.address)",
                remedy: "give the host a route, or correct to")
        }
        let addresses = destinations(of: entry, policy: layered.policy, name: name, outside: entries.outside[family])
        checkController(entry, policy: layered.policy, addresses: addresses)
        guard faults.count == before, let own = addresses.first else { return nil }

        let clients = entry.hairpin ? clients(family, entries) : []
        if clients?.isEmpty ?? true, entry.hairpin, !entry.masquerade {
            say("no networks of clients are known, hairpin hides everybody from the target", of: name)
        }
        let hairpin: [CIDR?] =
            clients.flatMap { $0.isEmpty ? nil : $0 } ?? (entry.sources.isEmpty ? [nil] : entry.sources)
        let admitted: [CIDR?] = entry.sources.isEmpty ? [nil] : withoutOverlaps(entry.sources + (clients ?? []))
        var admissions = admitted.map { ResolvedForward.Admission(destination: own, source: $0) }
        for address in addresses.dropFirst() {
            admissions += (entry.sources.isEmpty ? [nil] : hairpin).map { .init(destination: address, source: $0) }
        }
        return ResolvedForward(
            policy: layered.policy,
            entry: entry,
            label: ruleComment(name),
            admissions: admissions,
            hidden: entry.masquerade ? [nil] : entry.hairpin ? hairpin : []
        )
    }

    /// The address to forward from, and with hairpin the public ones that the VPC maps to it.
    private mutating func destinations(
        of entry: PortForward, policy: String, name: String, outside: String?
    ) -> [IPAddress] {
        let family = entry.family
        let own: IPAddress
        switch entry.destination {
        case .address(let address):
            guard address.family == family else {
                fail(
                    policy, entry.name, "destination \(address) and to \(entry.to.address) are of different families",
                    remedy: "write both as \(family.label)")
                return []
            }
            guard facts.has(address) else {
                fail(
                    policy, entry.name, "destination \(address) is no address of this host",
                    remedy: "write self, or give the address to an interface first")
                return []
            }
            own = address
        case .instance:
            guard let outside else {
                fail(
                    policy, entry.name,
                    "destination is self, and this host has no \(family.label) default route to tell which interface",
                    remedy: "give the host one, or write the address as destination")
                return []
            }
            guard let address = facts.primaryAddress(family, on: outside) else {
                fail(
                    policy, entry.name, "destination is self, and \(outside) has no \(family.label) address",
                    remedy: "give \(outside) one, or write the address as destination")
                return []
            }
            own = address
        }
        let mapped = facts.publicAddresses.filter { $0.private == own && $0.public.family == family }.map(\.public)
        let isMapped = entry.destination == .instance && entry.hairpin && !mapped.isEmpty
        let all = [own] + (isMapped ? mapped : [])
        if entry.destination == .instance {
            say("destination self is \(all.map(\.description).joined(separator: " and "))", of: name)
        }
        return all
    }

    private mutating func checkController(_ entry: PortForward, policy: String, addresses: [IPAddress]) {
        let taken = facts.controller.first {
            entry.protocol == .tcp && addresses.contains($0.address) && entry.port.overlaps($0.ports)
        }
        guard let taken else { return }
        fail(
            policy, entry.name, "\(taken) is where agents reach their controller",
            remedy: "forward another port or address")
    }

    /// The networks of clients behind this instance; nil where everybody may be one.
    private func clients(_ family: IPFamily, _ entries: ResolvedEntries) -> [CIDR]? {
        let sources = entries.masquerades.filter { $0.family == family }.flatMap(\.sources)
        guard !sources.contains(where: \.isEverything) else { return nil }
        return withoutOverlaps(facts.vpcCIDRs(family) + sources)
    }

    /// `self` and a written address may turn out to be the same here.
    mutating func checkOverlaps(_ forwards: [ResolvedForward]) {
        struct Claim {
            let address: IPAddress
            let forward: ResolvedForward
        }
        let claims = forwards.flatMap { forward in forward.destinations.map { Claim(address: $0, forward: forward) } }
            .sorted {
                ($0.address, $0.forward.entry.protocol, $0.forward.entry.port)
                    < ($1.address, $1.forward.entry.protocol, $1.forward.entry.port)
            }
        var open: [Claim] = []
        for claim in claims {
            let entry = claim.forward.entry
            open.removeAll {
                $0.address != claim.address || $0.forward.entry.protocol != entry.protocol
                    || !$0.forward.entry.port.overlaps(entry.port)
            }
            if let other = open.first {
                fail(
                    claim.forward.policy, entry.name,
                    "\(claim.address) \(entry.protocol.rawValue) \(entry.port) is also forwarded by "
                        + "\(other.forward.policy)/\(other.forward.entry.name)",
                    remedy: "give one of them other ports")
            }
            open.append(claim)
        }
    }
}
