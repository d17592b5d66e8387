// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: natfleet contributors

import Foundation
import Synchronization

/// JSON, or the part of YAML that is JSON, as a value.
enum JSONValue: Decodable, Hashable, Sendable {
    case null
    case bool(Bool)
    case number(Double)
    case string(String)
    case array([JSONValue])
    case object([String: JSONValue])

    init(from decoder: any Decoder) throws {
        if let object = try? decoder.container(keyedBy: Key.self) {
            let pairs = try object.allKeys.map { ($0.stringValue, try object.decode(JSONValue.self, forKey: $0)) }
            self = .object(Dictionary(uniqueKeysWithValues: pairs))
            return
        }
        if let array = try? [JSONValue](from: decoder) {
            self = .array(array)
            return
        }
        let value = try decoder.singleValueContainer()
        if value.decodeNil() {
            self = .null
        } else if let bool = try? value.decode(Bool.self) {
            self = .bool(bool)
        } else if let number = try? value.decode(Double.self) {
            self = .number(number)
        } else {
            self = .string(try value.decode(String.self))
        }
    }

    private struct Key: CodingKey {
        let stringValue: String
        var intValue: Int? { nil }
        init(stringValue: String) { self.stringValue = stringValue }
        init?(intValue: Int) { nil }
    }

    subscript(key: String) -> JSONValue? {
        guard case .object(let object) = self else { return nil }
        return object[key]
    }

    var string: String? {
        guard case .string(let text) = self else { return nil }
        return text
    }

    var number: Double? {
        guard case .number(let number) = self else { return nil }
        return number
    }

    var array: [JSONValue] {
        guard case .array(let array) = self else { return [] }
        return array
    }

    var object: [String: JSONValue] {
        guard case .object(let object) = self else { return [:] }
        return object
    }

    var strings: [String] { array.compactMap(\.string) }
}

/// The part of JSON Schema that the API's description uses, stricter in two ways: a property that the schema does not
/// name is a fault, and so is a keyword that is not understood here.
struct JSONSchema {
    private static let keywords: Set<String> = [
        "$ref", "type", "required", "properties", "additionalProperties", "items", "enum", "pattern", "minimum",
        "maximum",
        "minItems", "maxLength", "oneOf", "format", "description", "default",
    ]

    /// What `$ref` points into.
    let document: JSONValue
    /// Which parts of the description something was held against.
    let seen: Seen

    init(document: JSONValue, seen: Seen = Seen()) {
        self.document = document
        self.seen = seen
    }

    final class Seen: Sendable {
        private let parts = Mutex<Set<String>>([])

        func add(_ part: String) { parts.withLock { _ = $0.insert(part) } }
        var all: Set<String> { parts.withLock { $0 } }
    }

    /// Every property, item and choice of the document's components.
    var parts: [String] {
        (document["components"]?["schemas"]?.object ?? [:]).flatMap {
            parts($0.value, "#/components/schemas/\($0.key)")
        }.sorted()
    }

    private func parts(_ schema: JSONValue, _ place: String) -> [String] {
        let below =
            (schema["properties"]?.object ?? [:]).map { ("\(place)/\($0.key)", $0.value) }
            + ["items", "additionalProperties"].compactMap { key in schema[key].map { ("\(place)/\(key)", $0) } }
            + (schema["oneOf"]?.array ?? []).enumerated().map { ("\(place)/oneOf/\($0.offset)", $0.element) }
        return [place] + below.flatMap { parts($0.1, $0.0) }
    }

    /// What about a value is not as the schema says, each with its place; empty when it is.
    ///
    /// - Parameter place: of the schema in the document; nil outside its components.
    func faults(
        _ value: JSONValue, _ schema: JSONValue, at path: String = "$", place: String? = nil
    ) -> [String] {
        if let place { seen.add(place) }
        if let reference = schema["$ref"]?.string {
            guard let target = resolve(reference) else { return ["\(path): \(reference) points nowhere"] }
            return faults(value, target, at: path, place: reference)
        }
        var found = Set(schema.object.keys).subtracting(Self.keywords).map {
            "\(path): keyword \($0) is not understood"
        }
        if let type = schema["type"]?.string, !matches(value, type) { found.append("\(path) is no \(type)") }
        if case .array(let words)? = schema["enum"], !words.contains(value) {
            found.append("\(path) is not in the enum")
        }
        if let choices = schema["oneOf"]?.array {
            let good = choices.enumerated().filter { faults(value, $0.element, at: path).isEmpty }
            if good.count != 1 { found.append("\(path) is not one of oneOf") }
            for (index, choice) in good {
                _ = faults(value, choice, at: path, place: place.map { "\($0)/oneOf/\(index)" })
            }
        }
        switch value {
        case .string(let text): found += stringFaults(text, schema, path)
        case .number(let number):
            if let minimum = schema["minimum"]?.number, number < minimum { found.append("\(path) is below \(minimum)") }
            if let maximum = schema["maximum"]?.number, number > maximum { found.append("\(path) is above \(maximum)") }
        case .array(let values):
            if let count = schema["minItems"]?.number, values.count < Int(count) { found.append("\(path) has too few") }
            for (index, item) in values.enumerated() {
                found += faults(
                    item, schema["items"] ?? .object([:]), at: "\(path)[\(index)]", place: place.map { "\($0)/items" })
            }
        case .object(let object): found += objectFaults(object, schema, path, place)
        case .null, .bool: break
        }
        return found
    }

    private func objectFaults(
        _ object: [String: JSONValue], _ schema: JSONValue, _ path: String, _ place: String?
    ) -> [String] {
        guard schema["type"]?.string == "object" else { return [] }
        let properties = schema["properties"]?.object ?? [:]
        var found = (schema["required"]?.strings ?? []).filter { object[$0] == nil }.map { "\(path).\($0) is missing" }
        for (key, value) in object {
            if let property = properties[key] {
                found += faults(value, property, at: "\(path).\(key)", place: place.map { "\($0)/\(key)" })
            } else if let others = schema["additionalProperties"] {
                found += faults(
                    value, others, at: "\(path).\(key)", place: place.map { "\($0)/additionalProperties" })
            } else {
                found.append("\(path).\(key) is not described")
            }
        }
        return found
    }

    private func stringFaults(_ text: String, _ schema: JSONValue, _ path: String) -> [String] {
        var found: [String] = []
        if let pattern = schema["pattern"]?.string, text.range(of: pattern, options: .regularExpression) == nil {
            found.append("\(path) does not match \(pattern)")
        }
        if let limit = schema["maxLength"]?.number, text.count > Int(limit) { found.append("\(path) is too long") }
        if schema["format"]?.string == "date-time", (try? Date(text, strategy: .iso8601)) == nil {
            found.append("\(path) is no time")
        }
        return found
    }

    private func resolve(_ reference: String) -> JSONValue? {
        reference.split(separator: "/").dropFirst().reduce(document as JSONValue?) { $0?[String($1)] }
    }

    private func matches(_ value: JSONValue, _ type: String) -> Bool {
        switch (type, value) {
        case ("object", .object), ("array", .array), ("string", .string), ("boolean", .bool): true
        case ("integer", .number(let number)): number == number.rounded()
        default: false
        }
    }
}
