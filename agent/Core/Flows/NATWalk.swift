// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: natfleet contributors

import NetAddress
import Netfilter

/// What the rules of one family's table nat decide for the first packet of a connection. Chains of ours only: what others
/// decide before them is not known here.
struct NATWalk: Sendable {
    /// The first packet of a connection, as one hook sees it.
    struct Packet {
        var tuple: FlowTuple
        /// Where it goes by now; differs from the tuple's once a DNAT turned it round.
        var destination: IPAddress
        var port: UInt16?
        /// nil before routing.
        var outInterface: String?

        var isTurned: Bool { destination != tuple.destination || port != tuple.destinationPort }

        /// As it arrives.
        init(_ tuple: FlowTuple) {
            self.tuple = tuple
            destination = tuple.destination
            port = tuple.destinationPort
        }

        /// As it leaves, wherever its flow was sent.
        init(_ flow: TrackedFlow, outInterface: String) {
            tuple = flow.original
            destination = flow.reply.source
            // An echo's answer has no port to compare.
            port = flow.original.destinationPort == nil ? nil : flow.reply.sourcePort
            self.outInterface = outInterface
        }
    }

    private let chains: [String: [Rule]]
    private let jumps: [Jump]

    init(_ rules: FamilyRules) {
        chains = Dictionary(rules.nat.chains.map { ($0.name, $0.rules) }) { first, _ in first }
        jumps = rules.nat.jumps
    }

    /// The rule that decides, nil where none of ours does. Never one that only leads into another chain.
    func decision(at hook: BuiltInChain, for packet: Packet) -> Rule? {
        for jump in jumps where jump.from == hook {
            if let rule = walk(jump.to, packet) { return rule }
        }
        return nil
    }

    private func walk(_ chain: String, _ packet: Packet) -> Rule? {
        for rule in chains[chain] ?? [] where rule.matches(packet) {
            switch rule.target {
            case .jump(let next):
                if let decision = walk(next, packet) { return decision }
            // Nothing comes back to the rules after it.
            case .goTo(let next): return walk(next, packet)
            case .accept, .drop, .masquerade, .dnat: return rule
            }
        }
        return nil
    }
}

extension Rule {
    /// Where a DNAT sends a packet; nil for other rules.
    func target(of packet: NATWalk.Packet) -> (address: IPAddress, port: UInt16?)? {
        guard case .dnat(let address, let ports) = target else { return nil }
        switch ports {
        case .unchanged: return (address, packet.port)
        case .single(let port): return (address, port)
        case .shifted(let range, let base):
            return (address, packet.port.map { range.first &+ ($0 &- base) % UInt16(clamping: range.count) })
        }
    }

    fileprivate func matches(_ packet: NATWalk.Packet) -> Bool {
        if let source, !source.contains(packet.tuple.source) { return false }
        if let destination, !destination.contains(packet.destination) { return false }
        // Nobody remembers where a tracked flow came in.
        guard inInterface == nil, outInterface == nil || outInterface == packet.outInterface else { return false }
        if let transport, !transport.matches(packet) { return false }
        return connection.allSatisfy { $0.matches(packet) }
    }
}

extension TransportMatch {
    fileprivate func matches(_ packet: NATWalk.Packet) -> Bool {
        switch self {
        case .any(let transport): return packet.tuple.transport == transport
        case .ports(let transport, let ports):
            return packet.tuple.transport == transport && packet.port.map(ports.contains) ?? false
        case .icmpv6(let type):
            if case .icmp(type, _, _) = packet.tuple.detail { return packet.tuple.family == .ipv6 }
            return false
        }
    }
}

extension ConnectionMatch {
    fileprivate func matches(_ packet: NATWalk.Packet) -> Bool {
        let isInState = states.contains(.new) || packet.isTurned && states.contains(.dnat)
        guard isInState != isInverted else { return false }
        if let originalDestination, originalDestination != packet.tuple.destination { return false }
        if let originalPorts { return packet.tuple.destinationPort.map(originalPorts.contains) ?? false }
        return true
    }
}
