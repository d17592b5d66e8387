// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: natfleet contributors

internal import FleetAPI
internal import Yams

/// The same value as `-o json`, key for key, as YAML: dates stay text, keys are sorted.
func yamlText(_ value: some Encodable) throws -> String {
    let tree = try WireJSON.decode(JSONTree.self, from: try WireJSON.encode(value))
    return try Yams.serialize(node: try tree.node(), width: -1, allowUnicode: true)
}

private enum JSONTree: Decodable {
    case null
    case bool(Bool)
    case integer(Int)
    case number(Double)
    case text(String)
    case list([JSONTree])
    case object([String: JSONTree])

    init(from decoder: any Decoder) throws {
        let container = try decoder.singleValueContainer()
        if container.decodeNil() {
            self = .null
        } else if let value = try? container.decode(Bool.self) {
            self = .bool(value)
        } else if let value = try? container.decode(Int.self) {
            self = .integer(value)
        } else if let value = try? container.decode(Double.self) {
            self = .number(value)
        } else if let value = try? container.decode(String.self) {
            self = .text(value)
        } else if let value = try? container.decode([JSONTree].self) {
            self = .list(value)
        } else {
            self = .object(try container.decode([String: JSONTree].self))
        }
    }

    /// Yams quotes what would read back as another type.
    func node() throws -> Node {
        switch self {
        case .null: Node("null", Tag(.null))
        case .bool(let value): .scalar(value.represented())
        case .integer(let value): .scalar(value.represented())
        case .number(let value): .scalar(value.represented())
        case .text(let value) where value.contains("\n"): .scalar(Node.Scalar(value, Tag(.str), .literal))
        case .text(let value): .scalar(value.represented())
        case .list(let values): .sequence(Node.Sequence(try values.map { try $0.node() }))
        case .object(let members):
            .mapping(
                Node.Mapping(
                    try members.sorted { $0.key < $1.key }.map { (.scalar($0.key.represented()), try $0.value.node()) })
            )
        }
    }
}
