// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: natfleet contributors

/// Internet addresses as values: parse, don't validate. Imports nothing and knows nothing of policies or rules.
///
/// Every type's text form is what `iptables-save` prints (glibc's `inet_ntop`), parses back to an equal value, and is
/// the type's `Codable` form.
package enum IPFamily: String, Codable, CaseIterable, Hashable, Comparable, Sendable {
    case ipv4
    case ipv6

    /// Bits in an address.
    package var bits: Int {
        switch self {
        case .ipv4: 32
        case .ipv6: 128
        }
    }

    /// The name a person reads: `IPv4`, `IPv6`.
    package var label: String {
        switch self {
        case .ipv4: "IPv4"
        case .ipv6: "IPv6"
        }
    }

    package static func < (left: IPFamily, right: IPFamily) -> Bool { left == .ipv4 && right == .ipv6 }
}

/// Text that is not the address, network or port it should be.
package struct AddressError: Error, Hashable, CustomStringConvertible {
    /// What is wrong, lower case, without a final period.
    package let message: String
    /// What to write instead, an imperative sentence without a final period.
    package let remedy: String

    package init(_ message: String, remedy: String) {
        self.message = message
        self.remedy = remedy
    }

    package var description: String { message }
}
