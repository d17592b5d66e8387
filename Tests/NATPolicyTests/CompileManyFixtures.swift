// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: natfleet contributors

import NATPolicy
import NetAddress
import Netfilter
import TestSupport
import Testing

extension CompileFixtures {
    /// Port forwards that do not overlap, `spread` ports apart at most, some of them ranges across the borders of blocks.
    static func randomForwards(
        _ count: Int, _ transport: TransportProtocol, from start: Int, spread: Int, to target: String = "10.0.1",
        destination: DestinationChoice = .instance, hairpin: Bool = true, using random: inout SeededGenerator
    ) throws -> [PortForward] {
        var port = start
        return try (0..<count).map { _ in
            port += Int.random(in: 1...spread, using: &random)
            let isRange = Int.random(in: 0...4, using: &random) == 0
            let width = isRange ? Int.random(in: 2...40, using: &random) : 1
            let base = Bool.random(using: &random) ? port : 9000
            defer { port += width - 1 }
            return try forward(
                "\(transport.rawValue)-\(destination == .instance ? "self" : "other")-\(port)",
                isRange ? "\(port)-\(port + width - 1)" : "\(port)",
                to: "\(target).\(Int.random(in: 1...3, using: &random)):"
                    + (isRange ? "\(base)-\(base + width - 1)" : "80"),
                transport, destination: destination,
                sources: Int.random(in: 0...3, using: &random) == 0 ? ["198.51.100.0/24", "10.0.1.0/24"] : [],
                masquerade: hairpin && Int.random(in: 0...2, using: &random) == 0,
                hairpin: hairpin && Int.random(in: 0...2, using: &random) == 0)
        }
    }

    static func egress() throws -> Masquerade {
        Masquerade(
            name: "egress", families: [.ipv4], sources: try networks("10.0.0.0/16"), except: [try CIDR("10.0.0.0/8")])
    }

    /// Ten thousand, each to a target of its own.
    static func tenThousand(_ family: IPFamily) throws -> [PortForward] {
        try (10_000..<20_000).map { port in
            let (high, low) = ((port - 10_000) / 200, (port - 10_000) % 200 + 1)
            let target = family == .ipv4 ? "10.9.\(high).\(low)" : "[2001:db8:9:\(high)::\(low)]"
            return try forward("port-\(port)", "\(port)", to: "\(target):80", .udp)
        }
    }
}

extension OwnedState {
    /// The same rules without the tree: in place of a jump all that is below it, the gotos left out.
    var flattened: OwnedState {
        var flat = OwnedState.none
        for table in Table.allCases {
            flat[table].jumps = self[table].jumps
            let chains = self[table].chains
            for name in Set(self[table].jumps.map(\.to)) {
                flat[table].chains[name] = chains[name, default: []].flatMap { line -> [Line] in
                    guard let below = line.text.split(separator: " -j ").last, below.hasPrefix(name) else {
                        return [line]
                    }
                    return chains.filter { $0.key.hasPrefix(below) }.sorted { $0.key < $1.key }.flatMap { chain in
                        chain.value.filter { !$0.text.contains(" -g ") }.map {
                            Line("-A \(name)" + $0.text.dropFirst("-A \(chain.key)".count))
                        }
                    }
                }
            }
        }
        return flat
    }
}
