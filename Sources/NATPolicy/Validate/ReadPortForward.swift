// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: natfleet contributors

import NetAddress

/// A port forward and the place where its claim is written.
struct ReadForward {
    var forward: PortForward
    var port: Place
}

extension PolicyReader {
    mutating func portForward(_ place: Place, names: inout EntryNames) -> Placed<ReadForward>? {
        let known = [
            "name", "protocol", "destination", "port", "to", "sources", "drain", "masquerade", "hairpin", "allowSSH",
        ]
        guard let fields = fields(place, known: known) else { return nil }
        let transport = required("protocol", fields, example: "protocol: tcp")
            .flatMap { word($0, TransportProtocol.self) }
        let portPlace = required("port", fields, example: "port: 8001")
        let port = portPlace.flatMap { ports($0) }
        let to = required("to", fields, example: "to: \"10.0.1.1:80\"")
            .flatMap { target($0, for: port) }
        let families = to.map { [$0.address.family] } ?? IPFamily.allCases
        let name = entryName(fields, families: families, names: &names, example: "name: web")
        let destination = fields["destination"].map { self.destination($0, family: to?.address.family) } ?? .instance
        let sources = fields["sources"].flatMap { forwardSources($0, family: to?.address.family) } ?? []
        let allowsSSH = truth(fields["allowSSH"], default: false)
        if let portPlace, let port, transport == .tcp, port.contains(22), !allowsSSH {
            refuse(
                port.isSingle
                    ? "takes port 22, which is SSH to this instance"
                    : "takes port 22, which is SSH to this instance, in \(port)",
                at: portPlace, remedy: "choose another port, or add allowSSH: true if SSH may end at the target")
        }
        let drain = fields["drain"].flatMap { truth($0) }
        if let place = fields["drain"], drain == true, transport == .udp {
            refuse(
                "drains connections, which UDP has none of", at: place,
                remedy: "remove drain: flows of a changed UDP forward always end")
        }
        let masquerade = truth(fields["masquerade"], default: false)
        let hairpin = truth(fields["hairpin"], default: false)
        guard let name, let transport, let portPlace, let port, let to, let destination else { return nil }
        let forward = PortForward(
            name: name, protocol: transport, destination: destination, port: port, to: to, sources: sources,
            masquerade: masquerade, hairpin: hairpin, allowSSH: allowsSSH,
            drain: drain == true ? true : nil)
        return Placed(value: ReadForward(forward: forward, port: portPlace), place: place)
    }

    /// The target, widened to as many ports as `port` has where only its first one is written.
    private mutating func target(_ place: Place, for port: PortRange?) -> Endpoint? {
        guard let target = endpoint(place) else { return nil }
        if let use = Reserved.use(of: target.address) {
            refuse(
                "\(target.address) is \(use), where no port forward may lead", at: place,
                remedy: "write the address of a server in a private subnet")
            return nil
        }
        guard let port, port.count != target.ports.count else { return target }
        guard target.ports.isSingle else {
            refuse(
                "has \(target.ports.count) ports and port has \(port.count)", at: place,
                remedy: "write the first port only, or a range as wide as port's")
            return nil
        }
        guard let ports = target.ports.widened(to: port.count) else {
            refuse(
                "\(port.count) ports from \(target.ports.first) on end above 65535", at: place,
                remedy: "begin at \(65536 - port.count) or below")
            return nil
        }
        return Endpoint(target.address, ports: ports)
    }

    private mutating func destination(_ place: Place, family: IPFamily?) -> DestinationChoice? {
        if case .scalar("self", _) = place.node.content { return .instance }
        guard let address = address(place) else { return nil }
        if let use = Reserved.use(of: address) {
            refuse(
                "\(address) is \(use), which no port forward may take", at: place,
                remedy: "write self, or an address of the instance")
            return nil
        }
        if let family, family != address.family {
            refuse(
                "\(address) is \(address.family.label) and to is \(family.label)", at: place,
                remedy: "write both in one family; a port forward can't change it")
            return nil
        }
        return .address(address)
    }

    /// Who may use a port forward; empty for anyone, nil with a fault noted.
    private mutating func forwardSources(_ place: Place, family: IPFamily?) -> [CIDR]? {
        if case .scalar("any", _) = place.node.content { return [] }
        if case .scalar("vpc", _) = place.node.content {
            refuse("a port forward can't have the sources 'vpc'", at: place, remedy: "list the networks, or write any")
            return nil
        }
        guard let sources = networks(place, words: ["any"]) else { return nil }
        refuseUnusable(sources)
        for source in sources where family.map({ $0 != source.value.family }) ?? false {
            refuse(
                "\(source.value) is \(source.value.family.label) and to is \(source.value.family == .ipv4 ? "IPv6" : "IPv4")",
                at: source.place, remedy: "remove it, or add a second entry for \(source.value.family.label)")
        }
        return sources.map(\.value)
    }

    /// Two entries that claim one port: which of them a packet meets would depend on their order.
    mutating func refuseOverlaps(_ forwards: [Placed<ReadForward>]) {
        let claims = forwards.map { DNATClaim($0.value.forward) }
        for overlap in DNATClaim.overlaps(among: claims) {
            let earlier = forwards[overlap.earlier].value
            refuse(
                "overlaps \(quoted(earlier.forward.name)) of line \(earlier.port.mark.line), which takes \(claims[overlap.earlier])",
                at: forwards[overlap.later].value.port, remedy: "choose other ports, or remove one of the two")
        }
    }
}
