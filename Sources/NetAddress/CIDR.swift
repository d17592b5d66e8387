// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: natfleet contributors

/// A network: an address whose host bits are zero, and a prefix length.
package struct CIDR: Hashable, Sendable, Comparable {
    package let address: IPAddress
    package let prefixLength: Int

    package var family: IPFamily { address.family }

    /// The network that `address` lies in; host bits are cleared.
    package init(_ address: IPAddress, prefixLength: Int) {
        precondition((0...address.family.bits).contains(prefixLength))
        self.address = IPAddress(family: address.family, bits: address.bits & mask(prefixLength, address.family))
        self.prefixLength = prefixLength
    }

    /// Parses `address/length`; a bare address is the network of that one address. Host bits must be zero.
    package init(_ text: some StringProtocol) throws(AddressError) {
        guard let slash = text.firstIndex(of: "/") else {
            let address = try IPAddress(text)
            self.init(address, prefixLength: address.family.bits)
            return
        }
        let address = try IPAddress(text[..<slash])
        let length = parseDecimal(text[text.index(after: slash)...].utf8, max: UInt32(address.family.bits))
        guard let length else {
            throw AddressError(
                "\(quoted(text)) has no prefix length between 0 and \(address.family.bits)",
                remedy: "write it like \(address.family == .ipv4 ? "10.0.0.0/16" : "2001:db8::/64")"
            )
        }
        self.init(address, prefixLength: Int(length))
        guard self.address == address else {
            throw AddressError("\(quoted(text)) has host bits set", remedy: "write \(self) for the network")
        }
    }

    /// 0.0.0.0/0 or ::/0.
    package static func everything(_ family: IPFamily) -> CIDR {
        CIDR(IPAddress(family: family, bits: 0), prefixLength: 0)
    }

    package func contains(_ other: IPAddress) -> Bool {
        other.family == family && other.bits & mask(prefixLength, family) == address.bits
    }

    package func contains(_ other: CIDR) -> Bool {
        other.prefixLength >= prefixLength && contains(other.address)
    }

    package func overlaps(_ other: CIDR) -> Bool { contains(other) || other.contains(self) }

    package var isEverything: Bool { prefixLength == 0 }

    package var isSingleAddress: Bool { prefixLength == family.bits }

    package static func < (left: CIDR, right: CIDR) -> Bool {
        (left.address, left.prefixLength) < (right.address, right.prefixLength)
    }
}

private func mask(_ length: Int, _ family: IPFamily) -> UInt128 {
    let all: UInt128 = family == .ipv4 ? 0xffff_ffff : .max
    return length == 0 ? 0 : all & (all << UInt128(family.bits - length))
}

extension CIDR: CustomStringConvertible, Codable {
    /// Always with the length, as `iptables-save` prints it: `10.0.0.1/32`.
    package var description: String { address.description + "/" + String(prefixLength) }

    package init(from decoder: any Decoder) throws {
        try self.init(try decoder.singleValueContainer().decode(String.self))
    }

    package func encode(to encoder: any Encoder) throws {
        var container = encoder.singleValueContainer()
        try container.encode(description)
    }
}
