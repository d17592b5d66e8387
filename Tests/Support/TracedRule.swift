// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: natfleet contributors

import NetAddress
import Netfilter

enum TracedTarget: Equatable {
    case accept
    case drop
    case masquerade
    case dnat(IPAddress, port: UInt16?)
    case jump(String)
    case goTo(String)
}

struct UnknownSyntax: Error, CustomStringConvertible {
    let description: String
}

/// One line of rules, read word by word.
struct TracedRule: Sendable {
    private enum Condition {
        case source(CIDR)
        case destination(CIDR)
        case inInterface(String)
        case outInterface(String)
        case transport(String)
        case port(PortRange)
        case states([String])
        case originalDestination(IPAddress)
        case originalPort(PortRange)
        /// An ICMPv6 type: no traced packet has one.
        case never
    }

    private let line: String
    private var conditions: [(isInverted: Bool, condition: Condition)] = []
    private var targetWords: [String] = []
    private var isGoTo = false

    init(_ line: String) throws {
        self.line = line
        var words = ruleWords(line).dropFirst(2)[...]
        var isInverted = false
        while let word = words.popFirst() {
            switch word {
            case "!": isInverted = true
            case "-m":
                guard let name = words.popFirst(), ["tcp", "udp", "icmp6", "conntrack", "comment"].contains(name) else {
                    throw UnknownSyntax(description: line)
                }
            case "--comment": words = words.dropFirst()
            case "-j", "-g":
                isGoTo = word == "-g"
                targetWords = Array(words)
                words = []
            default:
                guard let value = words.popFirst() else { throw UnknownSyntax(description: line) }
                conditions.append((isInverted, try Self.condition(word, value, line)))
                isInverted = false
            }
        }
    }

    private static func condition(_ option: String, _ value: String, _ line: String) throws -> Condition {
        switch option {
        case "-s": .source(try CIDR(value))
        case "-d": .destination(try CIDR(value))
        case "-i": .inInterface(value)
        case "-o": .outInterface(value)
        case "-p": .transport(value)
        case "--dport": .port(try ports(value))
        case "--ctstate": .states(value.split(separator: ",").map(String.init))
        case "--ctorigdst": .originalDestination(try IPAddress(value))
        case "--ctorigdstport": .originalPort(try ports(value))
        case "--icmpv6-type": .never
        default: throw UnknownSyntax(description: "\(option) in \(line)")
        }
    }

    func matches(_ connection: Connection) -> Bool {
        conditions.allSatisfy { matches($0.condition, connection) != $0.isInverted }
    }

    private func matches(_ condition: Condition, _ connection: Connection) -> Bool {
        switch condition {
        case .source(let network): return network.contains(connection.source)
        case .destination(let network): return network.contains(connection.destination)
        case .inInterface(let name): return name == connection.inInterface
        case .outInterface(let name): return name == connection.outInterface
        case .transport(let name):
            switch connection.payload {
            case .tcp: return name == "tcp"
            case .udp: return name == "udp"
            case .icmp: return name == "icmp" || name == "ipv6-icmp"
            }
        case .port(let ports): return ports.contains(connection.port ?? 0)
        case .states(let states):
            return states.contains(connection.state) || (connection.isTurned && states.contains("DNAT"))
        // A packet of no connection has no original destination.
        case .originalDestination(let address):
            return connection.state != "INVALID" && address == connection.originalDestination
        case .originalPort(let ports):
            return connection.state != "INVALID" && ports.contains(connection.originalPort ?? 0)
        case .never: return false
        }
    }

    func target(for connection: Connection) throws -> TracedTarget {
        if targetWords.count == 1, targetWords[0].hasPrefix(ownedChainPrefix) {
            return isGoTo ? .goTo(targetWords[0]) : .jump(targetWords[0])
        }
        switch targetWords {
        case ["ACCEPT"]: return .accept
        case ["DROP"]: return .drop
        case ["MASQUERADE"], ["MASQUERADE", "--random-fully"]: return .masquerade
        default:
            guard targetWords.count == 3, targetWords.starts(with: ["DNAT", "--to-destination"]) else {
                throw UnknownSyntax(description: line)
            }
            return try dnat(targetWords[2], connection)
        }
    }

    /// `A`, `A:80`, `A:9000-9019/8000`, with A in brackets where it is IPv6 and a port follows.
    private func dnat(_ text: String, _ connection: Connection) throws -> TracedTarget {
        if let address = try? IPAddress(text) { return .dnat(address, port: nil) }
        let parts = text.split(separator: "/").map(String.init)
        let target = try Endpoint(parts[0])
        guard parts.count == 2 else {
            guard target.ports.isSingle else { throw UnknownSyntax(description: "every port lands on one: \(line)") }
            return .dnat(target.address, port: target.ports.first)
        }
        guard let base = UInt16(parts[1]), let port = connection.port, port >= base else {
            throw UnknownSyntax(description: line)
        }
        return .dnat(target.address, port: target.ports.first + (port - base))
    }

    private static func ports(_ text: String) throws -> PortRange {
        try PortRange(text.split(separator: ":").joined(separator: "-"))
    }
}
