// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: natfleet contributors

/// A transport protocol that a port forward can carry.
package enum TransportProtocol: String, Codable, CaseIterable, Hashable, Comparable, Sendable {
    case tcp
    case udp

    package static func < (left: TransportProtocol, right: TransportProtocol) -> Bool { left.rawValue < right.rawValue }
}

/// Ports from `first` to `last`, both included; never port 0.
package struct PortRange: Hashable, Sendable, Comparable {
    package let first: UInt16
    package let last: UInt16

    package var count: Int { Int(last) - Int(first) + 1 }
    package var isSingle: Bool { first == last }

    package init(first: UInt16, last: UInt16) throws(AddressError) {
        guard first >= 1, first <= last else {
            throw AddressError("'\(first)-\(last)' is not a port range", remedy: "write first-last, from 1 to 65535")
        }
        self.first = first
        self.last = last
    }

    package init(_ port: UInt16) throws(AddressError) {
        try self.init(first: port, last: port)
    }

    /// Parses `8001` or `8000-8019`.
    package init(_ text: some StringProtocol) throws(AddressError) {
        let parts = text.utf8.split(separator: UInt8(ascii: "-"), omittingEmptySubsequences: false)
        let numbers = parts.compactMap { parseDecimal($0, max: 65535) }
        guard (1...2).contains(parts.count), numbers.count == parts.count, numbers.allSatisfy({ $0 >= 1 }) else {
            throw AddressError(
                "\(quoted(text)) is not a port between 1 and 65535, nor a range of them",
                remedy: "write it like 8001 or \"8000-8019\""
            )
        }
        guard numbers[0] <= numbers[numbers.count - 1] else {
            throw AddressError("\(quoted(text)) runs backwards", remedy: "write the lower port first")
        }
        try self.init(first: UInt16(numbers[0]), last: UInt16(numbers[numbers.count - 1]))
    }

    /// The range of `count` ports that begins where this one does; nil when it would end above 65535.
    package func widened(to count: Int) -> PortRange? {
        guard (1...65535).contains(count), let last = UInt16(exactly: Int(first) + count - 1) else { return nil }
        return try? PortRange(first: first, last: last)
    }

    /// The block of `size` ports, counted from port 0, that holds all of the range; nil where it crosses a border.
    package func block(of size: UInt16) -> PortRange? {
        guard size >= 1, first / size == last / size else { return nil }
        let start = first / size * size
        return try? PortRange(first: max(start, 1), last: UInt16(clamping: Int(start) + Int(size) - 1))
    }

    package func contains(_ port: UInt16) -> Bool { first <= port && port <= last }

    package func overlaps(_ other: PortRange) -> Bool { first <= other.last && other.first <= last }

    package static func < (left: PortRange, right: PortRange) -> Bool {
        (left.first, left.last) < (right.first, right.last)
    }
}

extension PortRange: CustomStringConvertible, Codable {
    package var description: String { isSingle ? "\(first)" : "\(first)-\(last)" }

    package init(from decoder: any Decoder) throws {
        try self.init(try decoder.singleValueContainer().decode(String.self))
    }

    package func encode(to encoder: any Encoder) throws {
        var container = encoder.singleValueContainer()
        try container.encode(description)
    }
}

/// An address and ports: `10.0.1.1:80`, `[2001:db8::1]:9000-9019`.
package struct Endpoint: Hashable, Sendable {
    package let address: IPAddress
    package let ports: PortRange

    package init(_ address: IPAddress, ports: PortRange) {
        self.address = address
        self.ports = ports
    }

    package init(_ text: some StringProtocol) throws(AddressError) {
        let remedy = "write it like \"10.0.1.1:80\" or \"[2001:db8::1]:80\""
        let isBracketed = text.first == "["
        guard let colon = text.lastIndex(of: ":"),
            isBracketed || !text[..<colon].contains(":"),
            !isBracketed || text[..<colon].last == "]"
        else {
            throw AddressError("\(quoted(text)) is not an address and a port", remedy: remedy)
        }
        let host = isBracketed ? text[..<colon].dropFirst().dropLast() : text[..<colon]
        let address = try IPAddress(host)
        guard (address.family == .ipv6) == isBracketed else {
            throw AddressError("\(quoted(text)) puts brackets around an IPv4 address", remedy: remedy)
        }
        self.init(address, ports: try PortRange(text[text.index(after: colon)...]))
    }
}

extension Endpoint: CustomStringConvertible, Codable {
    package var description: String { "\(address.bracketed):\(ports)" }

    package init(from decoder: any Decoder) throws {
        try self.init(try decoder.singleValueContainer().decode(String.self))
    }

    package func encode(to encoder: any Encoder) throws {
        var container = encoder.singleValueContainer()
        try container.encode(description)
    }
}
