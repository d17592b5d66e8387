// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: natfleet contributors

package import NATPolicy
package import NetAddress
package import Netfilter

/// Walks packets through the rules of one family on one host, from their text alone, and says what becomes of them.
/// Written apart from the compiler, so that both have to be wrong to agree on a fault. Fails on syntax it does not know.
package struct PacketTracer: Sendable {
    package struct Packet: Sendable {
        package enum Payload: Hashable, Sendable {
            case tcp(UInt16)
            case udp(UInt16)
            case icmp
        }

        package enum State: String, Sendable {
            case new = "NEW"
            case established = "ESTABLISHED"
            case invalid = "INVALID"
        }

        package var source: IPAddress
        package var destination: IPAddress
        package var payload: Payload
        package var inInterface: String
        package var state: State = .new
        /// Somebody else's DNAT has turned the connection round to this address and port.
        package var foreignTarget: Endpoint?

        package init(
            from source: String,
            to destination: String,
            _ payload: Payload,
            in inInterface: String,
            _ state: State = .new,
            foreignTarget: String? = nil
        ) throws {
            self.source = try IPAddress(source)
            self.destination = try IPAddress(destination)
            self.payload = payload
            self.inInterface = inInterface
            self.state = state
            self.foreignTarget = try foreignTarget.map { try Endpoint($0) }
        }
    }

    package enum Verdict: String, Sendable {
        case accepted
        case dropped
        /// No rule of ours decides: the rest of FORWARD does.
        case noOpinion
        /// For the host itself.
        case local
    }

    package struct Outcome: Hashable, Sendable, CustomStringConvertible {
        package var verdict: Verdict
        /// Where a DNAT of ours sends it: `10.0.1.1:80`.
        package var target: String?
        package var isMasqueraded: Bool

        package init(_ verdict: Verdict, target: String? = nil, isMasqueraded: Bool = false) {
            self.verdict = verdict
            self.target = target
            self.isMasqueraded = isMasqueraded
        }

        package var description: String {
            "\(verdict.rawValue)\(target.map { ", to \($0)" } ?? "")\(isMasqueraded ? ", masqueraded" : "")"
        }
    }

    private let chains: [Table: [String: [TracedRule]]]
    private let facts: HostFacts

    package init(_ rules: FamilyRules, on facts: HostFacts) throws {
        try self.init(OwnedState(parsing: renderRestore(rules)), on: facts)
    }

    package init(_ state: OwnedState, on facts: HostFacts) throws {
        var chains: [Table: [String: [TracedRule]]] = [:]
        for table in Table.allCases {
            chains[table] = try state[table].chains.mapValues { try $0.map { try TracedRule($0.text) } }
        }
        self.chains = chains
        self.facts = facts
    }

    package func trace(_ packet: Packet) throws -> Outcome {
        var connection = Connection(packet)
        var target: String?
        if let foreign = packet.foreignTarget {
            connection.rewrite(to: foreign.address, port: foreign.ports.first)
        } else if packet.state == .new, case .dnat(let address, let port)? = try walk("NATFLEET-PRE", .nat, connection)
        {
            connection.rewrite(to: address, port: port)
            target = "\(address.bracketed):\(connection.port ?? 0)"
        }
        if facts.interfaces.contains(where: { $0.addresses.contains { $0.address == connection.destination } }) {
            return Outcome(.local, target: target)
        }
        connection.outInterface = outInterface(to: connection.destination)
        let verdict: Verdict =
            switch try walk("NATFLEET-FWD", .filter, connection) {
            case .accept: .accepted
            case .drop: .dropped
            default: .noOpinion
            }
        guard verdict != .dropped, packet.state == .new else { return Outcome(verdict, target: target) }
        let isMasqueraded = try walk("NATFLEET-POST", .nat, connection) == .masquerade
        return Outcome(verdict, target: target, isMasqueraded: isMasqueraded)
    }

    private func outInterface(to address: IPAddress) -> String? {
        let onLink = facts.interfaces.flatMap { interface in
            interface.addresses.map { HostFacts.Route(destination: $0.network, interface: interface.name) }
        }
        return (onLink + facts.routes).filter { $0.destination.contains(address) }
            .max { $0.destination.prefixLength < $1.destination.prefixLength }?.interface
    }

    private func walk(_ chain: String, _ table: Table, _ connection: Connection) throws -> TracedTarget? {
        for rule in chains[table]?[chain] ?? [] where rule.matches(connection) {
            switch try rule.target(for: connection) {
            case .jump(let next):
                if let verdict = try walk(next, table, connection) { return verdict }
            // Nothing comes back to the rules after it.
            case .goTo(let next): return try walk(next, table, connection)
            case let verdict: return verdict
            }
        }
        return nil
    }
}

struct Connection {
    let source: IPAddress
    let payload: PacketTracer.Packet.Payload
    let inInterface: String
    let state: String
    let originalDestination: IPAddress
    let originalPort: UInt16?
    var destination: IPAddress
    var port: UInt16?
    var outInterface: String?
    var isTurned = false

    init(_ packet: PacketTracer.Packet) {
        source = packet.source
        payload = packet.payload
        inInterface = packet.inInterface
        state = packet.state.rawValue
        destination = packet.destination
        originalDestination = packet.destination
        switch packet.payload {
        case .tcp(let number), .udp(let number): port = number
        case .icmp: port = nil
        }
        originalPort = port
    }

    mutating func rewrite(to address: IPAddress, port newPort: UInt16?) {
        destination = address
        port = newPort ?? port
        isTurned = true
    }
}
