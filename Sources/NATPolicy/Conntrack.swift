// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: natfleet contributors

/// How many connections an instance can track.
package struct Conntrack: Codable, Hashable, Sendable {
    package enum Max: Hashable, Sendable {
        /// Sized to the machine's memory, and never below what is found there.
        case auto
        case entries(Int)
    }

    /// What a policy may write: 16,777,216 entries take about 8 GiB.
    package static let entries = 1024...(1 << 24)

    package var max: Max

    package init(max: Max) { self.max = max }
}

extension Conntrack.Max: Codable, CustomStringConvertible {
    package init(from decoder: any Decoder) throws {
        let container = try decoder.singleValueContainer()
        if let number = try? container.decode(Int.self) {
            self = .entries(number)
            return
        }
        guard try container.decode(String.self) == "auto" else {
            throw DecodingError.dataCorruptedError(in: container, debugDescription: "neither a number nor auto")
        }
        self = .auto
    }

    package func encode(to encoder: any Encoder) throws {
        var container = encoder.singleValueContainer()
        switch self {
        case .auto: try container.encode("auto")
        case .entries(let number): try container.encode(number)
        }
    }

    package var description: String {
        switch self {
        case .auto: "auto"
        case .entries(let number): "\(number)"
        }
    }
}

extension PolicyReader {
    mutating func conntrack(_ place: Place) -> Conntrack? {
        guard let fields = fields(place, known: ["max"]),
            let max = required("max", fields, example: "max: auto")
        else { return nil }
        if case .scalar("auto", _) = max.node.content { return Conntrack(max: .auto) }
        if max.node.kind == "text" {
            refuse("must be auto or a number of entries, not \(max.node.kind)", at: max, remedy: "write auto or 262144")
            return nil
        }
        return integer(max, in: Conntrack.entries).map { Conntrack(max: .entries($0)) }
    }
}
