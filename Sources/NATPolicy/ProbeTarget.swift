// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: natfleet contributors

package import NetAddress

/// What a client of an instance must be able to reach: one TCP port that accepts a connection.
///
/// Text form, and that of JSON: `tcp:203.0.113.7:443`, `tcp:[2001:db8::7]:443`.
package struct ProbeTarget: Hashable, Sendable, Comparable {
    package let address: IPAddress
    package let port: UInt16

    package init(address: IPAddress, port: UInt16) {
        self.address = address
        self.port = port
    }

    package init(_ text: some StringProtocol) throws(AddressError) {
        let remedy = "write it like \"tcp:203.0.113.7:443\" or \"tcp:[2001:db8::7]:443\""
        guard text.hasPrefix("tcp:") else {
            throw AddressError("\(quoted(text)) does not begin with 'tcp:'", remedy: remedy)
        }
        let endpoint: Endpoint
        do {
            endpoint = try Endpoint(text.dropFirst("tcp:".count))
        } catch {
            throw AddressError(error.message, remedy: remedy)
        }
        guard endpoint.ports.isSingle else {
            throw AddressError("\(quoted(text)) has a range of ports", remedy: "write one of them")
        }
        self.init(address: endpoint.address, port: endpoint.ports.first)
    }

    package static func < (left: ProbeTarget, right: ProbeTarget) -> Bool {
        (left.address, left.port) < (right.address, right.port)
    }
}

extension ProbeTarget: CustomStringConvertible, Codable {
    package var description: String { "tcp:\(address.bracketed):\(port)" }

    package init(from decoder: any Decoder) throws {
        try self.init(try decoder.singleValueContainer().decode(String.self))
    }

    package func encode(to encoder: any Encoder) throws {
        var container = encoder.singleValueContainer()
        try container.encode(description)
    }
}
