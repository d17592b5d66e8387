// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: natfleet contributors

package import NetAddress

/// An interface by name, or the one of the default route per family (`auto`).
package enum InterfaceChoice: Hashable, Sendable {
    case auto
    case named(String)
}

/// Networks, or all CIDRs of the instance's VPC (`vpc`), or everybody (`any`).
package enum SourceChoice: Hashable, Sendable {
    case vpc
    case any
    case networks([CIDR])
}

/// An address, or this instance's own primary address on the outside interface (`self`).
package enum DestinationChoice: Hashable, Sendable {
    case instance
    case address(IPAddress)
}

extension InterfaceChoice: Codable {
    package init(from decoder: any Decoder) throws {
        let text = try decoder.singleValueContainer().decode(String.self)
        self = text == "auto" ? .auto : .named(text)
    }

    package func encode(to encoder: any Encoder) throws {
        var container = encoder.singleValueContainer()
        switch self {
        case .auto: try container.encode("auto")
        case .named(let name): try container.encode(name)
        }
    }
}

extension SourceChoice: Codable {
    package init(from decoder: any Decoder) throws {
        let container = try decoder.singleValueContainer()
        guard let word = try? container.decode(String.self) else {
            self = .networks(try container.decode([CIDR].self))
            return
        }
        switch word {
        case "vpc": self = .vpc
        case "any": self = .any
        default: self = .networks([try CIDR(word)])
        }
    }

    package func encode(to encoder: any Encoder) throws {
        var container = encoder.singleValueContainer()
        switch self {
        case .vpc: try container.encode("vpc")
        case .any: try container.encode("any")
        case .networks(let networks): try container.encode(networks)
        }
    }
}

extension DestinationChoice: Codable {
    package init(from decoder: any Decoder) throws {
        let text = try decoder.singleValueContainer().decode(String.self)
        self = text == "self" ? .instance : .address(try IPAddress(text))
    }

    package func encode(to encoder: any Encoder) throws {
        var container = encoder.singleValueContainer()
        switch self {
        case .instance: try container.encode("self")
        case .address(let address): try container.encode(address)
        }
    }
}
