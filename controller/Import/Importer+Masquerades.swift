// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: natfleet contributors

import NATPolicy
import NetAddress

extension Importer {
    mutating func readPostrouting(_ rule: SavedRule) throws(Unusable) {
        switch rule.target {
        case "ACCEPT", "RETURN": try readExemption(rule)
        case "MASQUERADE" where rule.first(of: ["-p"]) != nil: try readHiding(rule)
        case "MASQUERADE": try readMasquerade(rule, options: rule.targetWords)
        case "SNAT": try readSNAT(rule)
        case "": throw Unusable("it does nothing but count")
        default: throw Unusable("natfleet has no \(shown(rule.target)) of what leaves")
        }
    }

    private mutating func readExemption(_ rule: SavedRule) throws(Unusable) {
        if let option = rule.first(of: ["-p", "--dport", "--dports", "--ctstate", "-i"]) {
            throw Unusable("natfleet excepts destinations, not \(option)")
        }
        guard try rule.invertedDestination() == nil, let destination = try rule.network("-d") else {
            throw Unusable("natfleet excepts destinations, and it names none")
        }
        let exemption = Exemption(
            rule: rule, source: try rule.network("-s"), destination: destination, interface: try rule.interface("-o"))
        exemptions[rule.family, default: []].append(exemption)
    }

    /// A masquerade of what a port forward leads to: the target sees the instance's address.
    private mutating func readHiding(_ rule: SavedRule) throws(Unusable) {
        guard rule.targetWords.isEmpty || rule.targetWords == ["--random-fully"], try rule.network("-s") == nil,
            let destination = try rule.network("-d"), destination.isSingleAddress,
            let transport = try rule.value("-p"), let text = try rule.value("--dport"),
            let ports = try? PortRange(text.split(separator: ":").joined(separator: "-"))
        else { throw Unusable("natfleet masquerades by source, and for the whole of a port forward") }
        let indices = forwards.indices.filter { index in
            let entry = forwards[index].entry
            return entry.protocol.rawValue == transport && entry.to == Endpoint(destination.address, ports: ports)
        }
        guard !indices.isEmpty else { throw Unusable("no port forward leads to \(destination.address) port \(ports)") }
        for index in indices { forwards[index].entry.masquerade = true }
        taken += 1
        note(rule, "taken as masquerade: true of its port forward; other connections to it keep their source")
    }

    private mutating func readSNAT(_ rule: SavedRule) throws(Unusable) {
        guard rule.targetWords.count == 2, ["--to-source", "--to"].contains(rule.targetWords[0]),
            let address = try? IPAddress(rule.targetWords[1])
        else { throw Unusable("natfleet translates to one address, the instance's own") }
        guard facts != nil else {
            throw Unusable("--facts would tell whether \(address) is this host's own address, which a masquerade gives")
        }
        let interface = try rule.interface("-o") ?? outside(rule.family)
        guard address == primaryAddress(rule.family, on: interface) else {
            throw Unusable("\(address) is not the first address of \(shown(interface ?? "any interface"))")
        }
        try readMasquerade(rule, options: [])
        note(rule, "SNAT to \(address) is taken as a masquerade, which gives this address here")
    }

    private mutating func readMasquerade(_ rule: SavedRule, options: [String]) throws(Unusable) {
        var options = options
        let isRandom = options.contains("--random-fully")
        options.removeAll { $0 == "--random-fully" }
        if options == ["--random"] {
            note(rule, "natfleet has no --random, only randomFully; ports are chosen as without it")
            options = []
        }
        if let option = options.first { throw Unusable("natfleet has no \(quoted(option)) of a masquerade") }
        if let option = rule.first(of: ["-p", "--dport", "--dports", "--ctstate", "-i"]) {
            throw Unusable("natfleet masquerades by source, not by \(option)")
        }
        let inverted = try rule.invertedDestination()
        if inverted == nil, let destination = try rule.network("-d") {
            throw Unusable("natfleet masquerades by source, not only what goes to \(destination)")
        }
        let source = try rule.network("-s")
        let interface = try rule.interface("-o")
        var entry = Masquerade(
            name: "", families: [rule.family], interface: interface.map(InterfaceChoice.named) ?? .auto,
            sources: source.map { .networks([$0]) } ?? .any, except: inverted.map { [$0] } ?? [], randomFully: isRandom)
        try refuseAfterExceptions(entry, rule)
        entry.except += try exemptions(of: entry, interface, rule)
        // One spelling for both families, which `mergedMasquerades` puts together.
        entry.name = name(rule, "egress", in: [rule.family])
        masquerades[rule.family, default: []].append(Taken(entry: entry, rule: rule))
        taken += 1
        if source == nil { note(rule, "no -s: sources is 'any'; networks of your own are safer") }
        if interface == nil { note(rule, "no -o: interface is 'auto', the one of the default route") }
    }

    /// A policy lets an excepted destination through for good; the kernel went on to the next rule.
    private func refuseAfterExceptions(_ entry: Masquerade, _ rule: SavedRule) throws(Unusable) {
        for earlier in masquerades[rule.family] ?? [] {
            let spared = earlier.entry.except.filter { !entry.except.contains($0) }
            let isSpared = try earlier.rule.invertedDestination().map { spared.contains($0) } ?? false
            let ways = Set([earlier.entry.interface, entry.interface])
            guard isSpared, ways.count == 1 || ways.contains(.auto), overlap(earlier.entry.sources, entry.sources)
            else {
                continue
            }
            throw Unusable("line \(earlier.rule.place.line) lets some of it through for good in a policy")
        }
    }

    /// The exemptions before `entry` that spare all its sources.
    private mutating func exemptions(
        of entry: Masquerade, _ interface: String?, _ rule: SavedRule
    ) throws(Unusable) -> [CIDR] {
        var spared: [CIDR] = []
        for (index, exemption) in (exemptions[rule.family] ?? []).enumerated() {
            if let name = exemption.interface, name != interface {
                guard interface != nil else { throw Unusable("line \(exemption.rule.place.line) spares some of it") }
                continue
            }
            let covers: Bool
            switch entry.sources {
            case .networks(let networks):
                guard networks.contains(where: { exemption.source?.overlaps($0) ?? true }) else { continue }
                covers = networks.allSatisfy { exemption.source?.contains($0) ?? true }
            default: covers = exemption.source == nil
            }
            if covers {
                spared.append(exemption.destination)
                exemptions[rule.family]?[index].isUsed = true
            } else if !exemption.isUsed {
                throw Unusable("line \(exemption.rule.place.line) spares some of its sources only")
            }
        }
        return spared
    }

    mutating func finishExemptions() {
        for exemption in exemptions.sorted(by: { $0.key < $1.key }).flatMap(\.value) {
            if exemption.isUsed {
                taken += 1
            } else {
                note(exemption.rule, "nothing after it is masqueraded that it would spare; left out")
            }
        }
    }

    private func overlap(_ first: SourceChoice, _ second: SourceChoice) -> Bool {
        guard case .networks(let left) = first, case .networks(let right) = second else { return true }
        return left.contains { one in right.contains { $0.overlaps(one) } }
    }

    // MARK: Families

    /// Both families' masquerades in one list; where each has its like in the other, the two are one entry.
    mutating func mergedMasquerades() -> [Taken<Masquerade>] {
        let (first, second) = (masquerades[.ipv4] ?? [], masquerades[.ipv6] ?? [])
        let areAlike = first.count == second.count && zip(first, second).allSatisfy { isAlike($0.entry, $1.entry) }
        guard areAlike else {
            let taken = Set(first.map(\.entry.name))
            return first
                + second.map { item in
                    var item = item
                    if taken.contains(item.entry.name) {
                        item.entry.name = name(item.rule, "\(item.entry.name)-ipv6", in: IPFamily.allCases)
                    }
                    return item
                }
        }
        return zip(first, second).map { left, right in
            var merged = left
            merged.entry.families = [.ipv4, .ipv6]
            if case .networks(let one) = left.entry.sources, case .networks(let two) = right.entry.sources {
                merged.entry.sources = .networks(one + two)
            }
            merged.entry.except += right.entry.except
            return merged
        }
    }

    private func isAlike(_ first: Masquerade, _ second: Masquerade) -> Bool {
        first.name == second.name && first.interface == second.interface && first.randomFully == second.randomFully
            && (first.sources == .any) == (second.sources == .any)
    }
}
