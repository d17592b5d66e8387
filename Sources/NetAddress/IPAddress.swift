// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: natfleet contributors

/// One IPv4 or IPv6 address, without zone.
package struct IPAddress: Hashable, Sendable, Comparable {
    package let family: IPFamily
    /// The address as a number; at most 32 bits are used by IPv4.
    package let bits: UInt128

    package init(family: IPFamily, bits: UInt128) {
        self.family = family
        self.bits = family == .ipv4 ? bits & 0xffff_ffff : bits
    }

    /// Parses dotted-quad IPv4 (no leading zeros: some programs read them as octal) or RFC 4291 IPv6.
    package init(_ text: some StringProtocol) throws(AddressError) {
        if text.utf8.contains(UInt8(ascii: ":")) {
            guard let bits = parseIPv6(text) else {
                throw AddressError("\(quoted(text)) is not an IPv6 address", remedy: "write it like 2001:db8::1")
            }
            self.init(family: .ipv6, bits: bits)
        } else {
            guard let bits = parseIPv4(text) else {
                throw AddressError(
                    "\(quoted(text)) is not an IP address", remedy: "write it like 10.0.1.1 or 2001:db8::1")
            }
            self.init(family: .ipv4, bits: UInt128(bits))
        }
    }

    package static func < (left: IPAddress, right: IPAddress) -> Bool {
        (left.family, left.bits) < (right.family, right.bits)
    }

    /// 127.0.0.0/8 or ::1.
    package var isLoopback: Bool {
        family == .ipv4 ? bits >> 24 == 127 : bits == 1
    }

    /// 169.254.0.0/16 or fe80::/10.
    package var isLinkLocal: Bool {
        family == .ipv4 ? bits >> 16 == 0xa9fe : bits >> 118 == 0x3fa
    }

    /// 224.0.0.0/4 or ff00::/8.
    package var isMulticast: Bool {
        family == .ipv4 ? bits >> 28 == 0xe : bits >> 120 == 0xff
    }

    /// 0.0.0.0 or ::.
    package var isUnspecified: Bool { bits == 0 }

    /// The IPv4 address inside one of ::ffff:0:0/96; nil for any other.
    package var mappedIPv4: IPAddress? {
        family == .ipv6 && bits >> 32 == 0xffff ? IPAddress(family: .ipv4, bits: bits) : nil
    }
}

extension IPAddress: CustomStringConvertible, Codable {
    package var description: String {
        family == .ipv4 ? formatIPv4(UInt32(truncatingIfNeeded: bits)) : formatIPv6(bits)
    }

    /// The address as part of a URL or of `--to-destination`: IPv6 in brackets.
    package var bracketed: String { family == .ipv4 ? description : "[\(self)]" }

    package init(from decoder: any Decoder) throws {
        try self.init(try decoder.singleValueContainer().decode(String.self))
    }

    package func encode(to encoder: any Encoder) throws {
        var container = encoder.singleValueContainer()
        try container.encode(description)
    }
}
