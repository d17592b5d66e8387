// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: natfleet contributors

import NetAddress
import Netfilter

/// What there was before a change: all that is needed to go back, also from disk after a crash.
package struct Snapshot: Hashable, Sendable {
    /// Own chains with their counters, and the jumps into them, where they stand.
    var rules: [IPFamily: OwnedState]
    /// Every sysctl that the change may touch, itself or by a side effect of the kernel.
    var sysctls: [String: String]
    /// The ledger of values that natfleet found, as it was.
    var found: [String: String]
}

extension Snapshot: Codable {
    private enum CodingKeys: String, CodingKey {
        case ipv4
        case ipv6
        case sysctls
        case found
    }

    package init(from decoder: any Decoder) throws {
        let values = try decoder.container(keyedBy: CodingKeys.self)
        rules = [
            .ipv4: try OwnedState(parsing: try values.decode(String.self, forKey: .ipv4)),
            .ipv6: try OwnedState(parsing: try values.decode(String.self, forKey: .ipv6)),
        ]
        sysctls = try values.decode([String: String].self, forKey: .sysctls)
        found = try values.decode([String: String].self, forKey: .found)
    }

    package func encode(to encoder: any Encoder) throws {
        var values = encoder.container(keyedBy: CodingKeys.self)
        try values.encode(renderRestore(rules[.ipv4] ?? .none, jumps: .kept), forKey: .ipv4)
        try values.encode(renderRestore(rules[.ipv6] ?? .none, jumps: .kept), forKey: .ipv6)
        try values.encode(sysctls, forKey: .sysctls)
        try values.encode(found, forKey: .found)
    }
}
