// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: natfleet contributors

import NetAddress

/// The values of a mapping, by key.
struct Fields {
    let place: Place
    fileprivate(set) var values: [String: Place] = [:]
    /// Keys that are there with a fault that was noted.
    fileprivate var refused: Set<String> = []

    subscript(key: String) -> Place? { values[key] }

    /// A key was wrong, so what seems to be missing may be what it was meant to be.
    var hasRefusedKeys: Bool { !refused.isEmpty }
}

extension PolicyReader {
    /// Reads a mapping of known keys; a key without a value counts as a fault, for a forgotten `sources:` must not mean
    /// everybody. nil when it is no mapping at all.
    mutating func fields(_ place: Place, known: [String], notYet: [String] = []) -> Fields? {
        guard case .mapping(let pairs) = place.node.content else {
            refuse(
                "must be a mapping, not \(place.node.kind)", at: place,
                remedy: "write it as 'key: value' with keys of \(known.joined(separator: ", "))")
            return nil
        }
        var fields = Fields(place: place)
        var seen: Set<String> = []
        for pair in pairs {
            guard case .scalar(let key, _) = pair.key.content else {
                refuse(
                    "a key must be text, not \(pair.key.kind)", at: Place(node: pair.key, path: place.path),
                    remedy: "use only the keys \(known.joined(separator: ", "))")
                continue
            }
            let keyPlace = place.child(key, pair.key)
            if !seen.insert(key).inserted {
                refuse("key \(quoted(key)) is written twice", at: keyPlace, remedy: "keep one of them")
            } else if notYet.contains(key) {
                refuse(
                    "\(quoted(key)) is not supported yet", at: keyPlace,
                    remedy: "remove it, or wait for a natfleet that supports it")
            } else if !known.contains(key) {
                refuse("unknown key \(quoted(key))", at: keyPlace, remedy: unknownKeyRemedy(key, known: known))
            } else if pair.value.isNull {
                refuse("key \(quoted(key)) has no value", at: keyPlace, remedy: "give it a value, or remove it")
            } else {
                fields.values[key] = place.child(key, pair.value)
                continue
            }
            fields.refused.insert(key)
        }
        return fields
    }

    /// A value that must be there; its absence is noted once.
    mutating func required(_ key: String, _ fields: Fields, example: String) -> Place? {
        if let place = fields[key] { return place }
        if !fields.refused.contains(key) {
            refuse("missing key \(quoted(key))", at: fields.place, remedy: "add it, for example \(example)")
        }
        return nil
    }

    /// The elements of a list.
    mutating func elements(_ place: Place, limit: Int = 20_000) -> [Place]? {
        guard case .sequence(let nodes) = place.node.content else {
            refuse(
                "must be a list, not \(place.node.kind)", at: place,
                remedy: "begin each entry with '- ', or write [first, second]")
            return nil
        }
        guard nodes.count <= limit else {
            refuse(
                "has \(nodes.count) entries, more than \(limit)", at: place,
                remedy: "split it over several policies, or use ranges and networks")
            return nil
        }
        return nodes.enumerated().map { place.element($0.offset, $0.element) }
    }
}

private func unknownKeyRemedy(_ key: String, known: [String]) -> String {
    if let nearest = nearest(to: key, among: known) { return "write '\(nearest)'" }
    return "remove it, or use one of \(known.joined(separator: ", "))"
}
