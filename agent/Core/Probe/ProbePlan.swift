// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: natfleet contributors

package import NATPolicy
package import NetAddress

/// Which packets to send to see what clients see, for one policy on one host. Pure: the same input, the same plan.
///
/// One client a masquerade and family, with an address of the masquerade's sources that nobody has (`ClientAddresses`).
/// It sends a datagram to an address of a documentation prefix, which is no one's, with a hop limit that ends with the
/// next router: forwarded and translated like any other, and seen by nobody. It also connects to each of the policy's
/// targets of that family that are reached by the masquerade's interface.
package struct ProbePlan: Hashable, Sendable {
    /// An address for a client.
    package struct Client: Hashable, Sendable {
        package var address: IPAddress
        /// EC2 keeps it free; else it is to be taken only while nobody is seen to have it.
        package var isKept: Bool
    }

    /// A client, and what it sends.
    package struct Entry: Hashable, Sendable {
        /// `<policy>/<name>`.
        package var masquerade: String
        package var family: IPFamily
        /// By which its packets leave, translated.
        package var interface: String
        /// What they may be translated to.
        package var addresses: [IPAddress]
        /// Addresses that it may have, best first.
        package var clients: [Client]
        /// Of the datagram.
        package var destination: IPAddress
        package var targets: [ProbeTarget]
        /// What of the policy and the host already looks wrong, in case the packets don't get through.
        package var suspicion: String?
    }

    /// Of the datagrams: discard (RFC 863), should anybody ever read one.
    package static let datagramPort: UInt16 = 9

    package var entries: [Entry]
    /// What is known without a packet.
    package var settled: [ProbeFinding]
    package var iptables: HostFacts.Iptables

    /// Addresses that are the probe's own, or may be.
    package var clients: Set<IPAddress> { Set(entries.flatMap { $0.clients.map(\.address) }) }

    /// - Parameters:
    ///   - compiled: `policy` on `facts`.
    ///   - clients: who uses this instance now (`ClientsInUse`), as far as somebody looked. A family all of whose
    ///     clients no masquerade covers any more is a fault: its sources are mistyped. To let clients go on purpose is to
    ///     route them elsewhere first.
    package init(
        _ compiled: CompiledPolicy, of policy: EffectivePolicy, on facts: HostFacts, clients: Set<IPAddress> = []
    ) {
        entries = []
        settled = []
        iptables = facts.iptables
        for family in IPFamily.allCases {
            let masquerades = compiled.masquerades.filter { $0.family == family }
            guard !masquerades.isEmpty else { continue }
            if let finding = unserved(clients, by: masquerades, family) { settled.append(finding) }
            let addresses = ClientAddresses(family, masquerades, policy: policy, facts: facts)
            let targets = (policy.probes ?? []).filter { $0.address.family == family }
            for masquerade in masquerades {
                add(masquerade, of: masquerades, targets, addresses, facts)
            }
        }
    }

    private mutating func add(
        _ masquerade: CompiledMasquerade, of all: [CompiledMasquerade], _ targets: [ProbeTarget],
        _ addresses: ClientAddresses, _ facts: HostFacts
    ) {
        let (name, family) = (masquerade.name, masquerade.family)
        guard let choice = addresses.choice(for: masquerade) else {
            let sources = masquerade.sources.map(\.description).joined(separator: ", ")
            let reason = "no address of \(sources) is known to be nobody's"
            settled.append(ProbeFinding(family, name, all: .unasked(reason)))
            return
        }
        guard let destination = destination(of: masquerade, among: all, facts) else {
            let reason = "every address that is nobody's is excepted, or has a route of its own"
            settled.append(ProbeFinding(family, name, all: .unasked(reason)))
            return
        }
        let targets = targets.filter { target in
            let way = facts.interface(towards: target.address)
            // One that no entry translates towards is everybody's to fail at.
            return way == masquerade.interface || !all.contains { $0.interface == way }
        }
        let excepted = targets.filter { target in all.contains { $0.except.contains { $0.contains(target.address) } } }
        settled += excepted.map { target in
            let reason = "it is excepted from translation, so its answer would not come back to the probe"
            return ProbeFinding(family, name, target, all: .unasked(reason))
        }
        var suspicions = [choice.suspicion]
        if let way = facts.interface(towards: destination), way != masquerade.interface {
            suspicions.append(
                "the way to \(destination) is by \(way), and the entry translates on \(masquerade.interface)")
        }
        entries.append(
            Entry(
                masquerade: name,
                family: family,
                interface: masquerade.interface,
                addresses: facts.interface(named: masquerade.interface)?.addresses.map(\.address)
                    .filter { $0.family == family && !$0.isLinkLocal } ?? [],
                clients: choice.clients,
                destination: destination,
                targets: targets.filter { !excepted.contains($0) },
                suspicion: suspicions.contains { $0 != nil }
                    ? suspicions.compactMap(\.self).joined(separator: "; ") : nil
            ))
    }
}

/// The probe's own flows, of all plans that it had: the kernel remembers them for longer than a plan lasts. Its client may
/// have an address that turns out to be somebody's, so the address alone does not tell them.
package struct ProbeFlows: Hashable, Sendable {
    private(set) var clients: Set<IPAddress> = []
    private(set) var targets: Set<ProbeTarget> = []

    package init(_ plan: ProbePlan? = nil) { insert(plan) }

    package mutating func insert(_ plan: ProbePlan?) {
        guard let plan else { return }
        clients.formUnion(plan.clients)
        targets.formUnion(plan.entries.flatMap(\.targets))
    }

    package func contains(_ flow: TrackedFlow) -> Bool {
        clients.contains(flow.original.source) && flow.isOfProbe(asking: targets)
    }
}

extension TrackedFlow {
    /// Whether it can be one of the probe's, if its source is one of its clients.
    ///
    /// - Parameter targets: all that it asks, or asked not long ago.
    package func isOfProbe(asking targets: Set<ProbeTarget>) -> Bool {
        guard let port = original.destinationPort else { return false }
        switch original.transport {
        case .udp: return port == ProbePlan.datagramPort
        case .tcp: return targets.contains { $0.address == original.destination && $0.port == port }
        case nil: return false
        }
    }
}

extension CompiledMasquerade {
    /// `<policy>/<name>`.
    var name: String { String(label.drop { $0 != ":" }.dropFirst()) }
}

/// Nobody of those that use this instance now would be served any more.
private func unserved(
    _ clients: Set<IPAddress>, by masquerades: [CompiledMasquerade], _ family: IPFamily
) -> ProbeFinding? {
    let clients = clients.filter { $0.family == family }.sorted()
    let sources = masquerades.flatMap(\.sources)
    guard !clients.isEmpty, !clients.contains(where: { client in sources.contains { $0.contains(client) } }) else {
        return nil
    }
    let some = clients.prefix(3).map(\.description).joined(separator: ", ")
    let more = clients.count > 3 ? " and \(clients.count - 3) more" : ""
    let networks = sources.map(\.description).joined(separator: ", ")
    let reason = "who uses this instance now, \(some)\(more), is not in \(networks)"
    return ProbeFinding(
        family: family, masquerade: masquerades.map(\.name).joined(separator: ", "), forwarded: .no(reason),
        translated: .unasked(reason))
}

/// Where the datagram goes: to a prefix that RFC 5737, 9637, 3849 and 6666 keep free of anybody. For an entry on another
/// interface than theirs, where some foreign network is routed by it, to that network's own address: the next router
/// ends it too.
private func destination(
    of masquerade: CompiledMasquerade, among all: [CompiledMasquerade], _ facts: HostFacts
) -> IPAddress? {
    let family = masquerade.family
    let free: [IPAddress] =
        switch family {
        case .ipv4: [0xc000_0201, 0xc633_6401, 0xcb00_7101].map { IPAddress(family: .ipv4, bits: $0) }
        case .ipv6:
            [0x3fff << 112 | 1, 0x2001_0db8 << 96 | 1, 0x0100 << 112 | 1].map { IPAddress(family: .ipv6, bits: $0) }
        }
    let excepted = all.flatMap(\.except)
    let inside = facts.vpcCIDRs(family) + all.flatMap(\.sources).filter { !$0.isEverything } + facts.onLink(family)
    func isFit(_ address: IPAddress) -> Bool {
        !facts.has(address) && !(excepted + inside).contains { $0.contains(address) }
    }
    let usual = free.filter(isFit)
    if usual.contains(where: { facts.interface(towards: $0) == masquerade.interface }) {
        return usual.first { facts.interface(towards: $0) == masquerade.interface }
    }
    let beyond = facts.routes.first { route in
        route.destination.family == family && route.interface == masquerade.interface && route.gateway != nil
            && !route.destination.isEverything && !inside.contains { $0.overlaps(route.destination) }
            && isFit(route.destination.address)
    }
    return beyond?.destination.address ?? usual.first
}
