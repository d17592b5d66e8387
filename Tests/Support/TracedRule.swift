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
    private let line: String
    private var conditions: [(isInverted: Bool, option: String, value: String)] = []
    private var targetWords: [String] = []
    private var isGoTo = false

    init(_ line: String) throws {
        self.line = line
        var words = ruleWords(line).dropFirst(2)[...]
        var isInverted = false
        while let word = words.popFirst() {
            switch word {
            case "!": isInverted = true
            case "-s", "-d", "-i", "-o", "-p", "--dport", "--icmpv6-type", "--ctstate", "--ctorigdst",
                "--ctorigdstport":
                guard let value = words.popFirst() else { throw UnknownSyntax(description: line) }
                conditions.append((isInverted, word, value))
                isInverted = false
            case "-m":
                guard let name = words.popFirst(), ["tcp", "udp", "icmp6", "conntrack", "comment"].contains(name) else {
                    throw UnknownSyntax(description: line)
                }
            case "--comment": words = words.dropFirst()
            case "-j", "-g":
                isGoTo = word == "-g"
                targetWords = Array(words)
                words = []
            default: throw UnknownSyntax(description: "\(word) in \(line)")
            }
        }
    }

    func matches(_ connection: Connection) throws -> Bool {
        try conditions.allSatisfy { try matches($0.option, $0.value, connection) != $0.isInverted }
    }

    private func matches(_ option: String, _ value: String, _ connection: Connection) throws -> Bool {
        switch option {
        case "-s": return try CIDR(value).contains(connection.source)
        case "-d": return try CIDR(value).contains(connection.destination)
        case "-i": return value == connection.inInterface
        case "-o": return value == connection.outInterface
        case "-p":
            switch connection.payload {
            case .tcp: return value == "tcp"
            case .udp: return value == "udp"
            case .icmp: return value == "icmp" || value == "ipv6-icmp"
            }
        case "--dport": return try ports(value).contains(connection.port ?? 0)
        case "--ctstate":
            let states = value.split(separator: ",").map(String.init)
            return states.contains(connection.state) || (connection.isTurned && states.contains("DNAT"))
        // A packet of no connection has no original destination.
        case "--ctorigdst":
            return try connection.state != "INVALID" && IPAddress(value) == connection.originalDestination
        case "--ctorigdstport":
            return try connection.state != "INVALID" && ports(value).contains(connection.originalPort ?? 0)
        default: throw UnknownSyntax(description: "\(option) in \(line)")
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

    private func ports(_ text: String) throws -> PortRange {
        try PortRange(text.split(separator: ":").joined(separator: "-"))
    }
}
