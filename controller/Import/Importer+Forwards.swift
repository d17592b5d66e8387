// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: natfleet contributors

import NATPolicy
import NetAddress

extension Importer {
    mutating func readPrerouting(_ rule: SavedRule) throws(Unusable) {
        guard rule.target == "DNAT" else {
            throw Unusable(
                rule.target.isEmpty
                    ? "it does nothing but count" : "natfleet has no \(shown(rule.target)) of port forwards")
        }
        guard rule.targetWords.count == 2, ["--to-destination", "--to"].contains(rule.targetWords[0]) else {
            throw Unusable("natfleet has no such DNAT: \(quoted(rule.targetWords.joined(separator: " ")))")
        }
        if rule.first(of: ["--ctstate", "-o"]) != nil { throw Unusable("natfleet forwards by address and port only") }
        guard let transport = TransportProtocol(rawValue: try rule.value("-p") ?? "") else {
            throw Unusable("natfleet forwards ports of tcp and udp only")
        }
        let ranges = try ports(rule)
        let source = try rule.network("-s")
        let destination = try destination(rule)
        for range in ranges {
            let target = try target(rule.targetWords[1], for: range, rule)
            let name = name(rule, "\(transport.rawValue)-\(range)", in: [rule.family])
            let allowsSSH = transport == .tcp && range.contains(22)
            let entry = PortForward(
                name: name, protocol: transport, destination: destination, port: range, to: target,
                sources: source.map { [$0] } ?? [], allowSSH: allowsSSH)
            forwards.append(Taken(entry: entry, rule: rule))
            if allowsSSH { note(rule, "it takes port 22, SSH to the instance itself: allowSSH is true") }
        }
        taken += 1
    }

    private func ports(_ rule: SavedRule) throws(Unusable) -> [PortRange] {
        let (single, several) = (try rule.value("--dport"), try rule.value("--dports"))
        guard let text = single ?? several, single == nil || several == nil else {
            throw Unusable("natfleet forwards ports, and it names none")
        }
        var ranges: [PortRange] = []
        for part in text.split(separator: ",", omittingEmptySubsequences: false) {
            guard let range = try? PortRange(part.split(separator: ":").joined(separator: "-")) else {
                throw Unusable("\(quoted(part)) are no ports")
            }
            ranges.append(range)
        }
        return ranges
    }

    private mutating func destination(_ rule: SavedRule) throws(Unusable) -> DestinationChoice {
        let outside = outside(rule.family)
        let network = try rule.network("-d")
        if let interface = try rule.interface("-i") {
            guard outside == nil || interface == outside else {
                throw Unusable("it is for what arrives on \(shown(interface)), which natfleet does not look at")
            }
            note(
                rule,
                "natfleet does not look at the interface that packets arrive on; -i \(shown(interface)) is left out")
        }
        guard let network else {
            note(rule, "no -d: destination is 'self', the instance's own address, not whatever passes through")
            return .instance
        }
        guard network.isSingleAddress else { throw Unusable("its destination is more than one address") }
        if let facts {
            if network.address == primaryAddress(rule.family, on: outside) { return .instance }
            if !facts.interfaces.contains(where: { $0.addresses.contains { $0.address == network.address } }) {
                note(rule, "\(network.address) is no address of this host")
            }
        } else {
            note(rule, "if \(network.address) is the instance's own address, destination: self fits every instance")
        }
        return .address(network.address)
    }

    /// `A`, `A:80`, `A:9000-9019/8000`, with A in brackets where it is IPv6 and a port follows.
    private func target(_ text: String, for ports: PortRange, _ rule: SavedRule) throws(Unusable) -> Endpoint {
        let bare = text.hasPrefix("[") && text.hasSuffix("]") ? String(text.dropFirst().dropLast()) : text
        var target: Endpoint
        if let address = try? IPAddress(bare) {
            target = Endpoint(address, ports: ports)
        } else {
            let parts = text.split(separator: "/", omittingEmptySubsequences: false)
            guard let written = parts.first.flatMap({ try? Endpoint($0) }), parts.count <= 2 else {
                throw Unusable("natfleet forwards to one address, with a port or none: \(quoted(text))")
            }
            target = written
            if parts.count == 2 {
                guard parts[1] == "\(ports.first)", written.ports.count == ports.count else {
                    throw Unusable(
                        "its ports are shifted from another one than its first, or to another number of them")
                }
            } else if !(ports.isSingle && written.ports.isSingle) {
                throw Unusable("every port of it ends at one: natfleet shifts a range port by port")
            }
        }
        guard target.address.family == rule.family else {
            throw Unusable("\(target.address) is no \(rule.family.label) address")
        }
        return target
    }

    /// The kernel takes the first rule that matches; a policy refuses two for one port.
    mutating func resolveOverlaps() {
        while true {
            let overlaps = DNATClaim.overlaps(among: forwards.map { DNATClaim($0.entry) })
            if overlaps.isEmpty { return }
            var gone: Set<Int> = []
            for overlap in overlaps where !gone.contains(overlap.earlier) && !gone.contains(overlap.later) {
                let (first, second) = (forwards[overlap.earlier], forwards[overlap.later])
                let line = first.rule.place.line
                if first.entry.sources.isEmpty, first.entry.port.contains(second.entry.port.first),
                    first.entry.port.contains(second.entry.port.last)
                {
                    note(second.rule, "it never matches, line \(line) takes its ports before; left out")
                } else if first.entry.port == second.entry.port, first.entry.to == second.entry.to {
                    let anyone = second.entry.sources.isEmpty
                    forwards[overlap.earlier].entry.sources = anyone ? [] : first.entry.sources + second.entry.sources
                } else {
                    leave(second.rule, "line \(line) takes some of its ports for some: natfleet has one target a port")
                    taken -= 1
                }
                gone.insert(overlap.later)
            }
            forwards = forwards.indices.filter { !gone.contains($0) }.map { forwards[$0] }
        }
    }
}
