// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: natfleet contributors

package import NATPolicy
import NetAddress

extension PolicyDocument {
    /// The document as its author would write it: YAML that reads back as the same, without what is the default.
    package var yaml: String {
        var lines = ["apiVersion: \(Self.apiVersion)", "kind: \(Self.kind)", "metadata:", "  name: \(scalar(name))"]
        if let description { lines.append("  description: \(scalar(description))") }
        lines.append("spec:")
        if spec.priority != 100 { lines.append("  priority: \(spec.priority)") }
        lines.append("  selector:")
        if !spec.selector.matchLabels.isEmpty {
            lines.append("    matchLabels:")
            for (key, value) in spec.selector.matchLabels.sorted(by: { $0.key < $1.key }) {
                lines.append("      \(scalar(key)): \(scalar(value))")
            }
        }
        if !spec.selector.instances.isEmpty { lines.append("    instances: \(list(spec.selector.instances))") }
        lines.append("  forwarding: {ipv4: \(spec.forwarding.ipv4), ipv6: \(spec.forwarding.ipv6)}")
        lines += entries("masquerade", spec.masquerade.map(\.fields))
        lines += entries("dnat", spec.dnat.map(\.fields))
        if let value = spec.guard { lines.append("  guard: \(value)") }
        if let value = spec.conntrack { lines.append("  conntrack: {max: \(value.max)}") }
        if let probes = spec.probes { lines.append("  probes: \(list(probes.map(\.description)))") }
        if let seconds = spec.rollout?.confirmTimeout { lines.append("  rollout: {confirmTimeout: \(seconds)s}") }
        return lines.map { $0 + "\n" }.joined()
    }

    private func entries(_ key: String, _ entries: [[(key: String, value: String)]]) -> [String] {
        guard !entries.isEmpty else { return [] }
        return ["  \(key):"]
            + entries.flatMap { fields in
                fields.enumerated().map { "    \($0 == 0 ? "- " : "  ")\($1.key): \($1.value)" }
            }
    }
}

extension Masquerade {
    fileprivate var fields: [(key: String, value: String)] {
        var fields = [(key: "name", value: scalar(name))]
        if let families { fields.append(("families", "[\(families.map(\.rawValue).joined(separator: ", "))]")) }
        if case .named(let name) = interface { fields.append(("interface", scalar(name))) }
        switch sources {
        case .vpc: break
        case .any: fields.append(("sources", "any"))
        case .networks(let networks): fields.append(("sources", list(networks.map(\.description))))
        }
        if !except.isEmpty { fields.append(("except", list(except.map(\.description)))) }
        if !randomFully { fields.append(("randomFully", "false")) }
        return fields
    }
}

extension PortForward {
    fileprivate var fields: [(key: String, value: String)] {
        var fields = [(key: "name", value: scalar(name)), ("protocol", `protocol`.rawValue)]
        if case .address(let address) = destination { fields.append(("destination", scalar("\(address)"))) }
        fields += [("port", port.isSingle ? "\(port)" : scalar("\(port)")), ("to", scalar("\(to)"))]
        if !sources.isEmpty { fields.append(("sources", list(sources.map(\.description)))) }
        for (key, value) in [
            ("masquerade", masquerade), ("hairpin", hairpin), ("allowSSH", allowSSH), ("drain", drain == true),
        ] where value {
            fields.append((key, "true"))
        }
        return fields
    }
}

private func list(_ items: [String]) -> String { "[\(items.map(scalar).joined(separator: ", "))]" }

/// Bare only where no reader could take it for anything but text.
private func scalar(_ text: String) -> String {
    let words: Set = ["true", "false", "yes", "no", "on", "off", "null", "y", "n"]
    let isLetter: (UInt8) -> Bool = { ($0 | 0x20) >= UInt8(ascii: "a") && ($0 | 0x20) <= UInt8(ascii: "z") }
    let isPlain =
        text.utf8.first.map(isLetter) == true
        && text.utf8.allSatisfy { isLetter($0) || ($0 >= 0x30 && $0 <= 0x39) || "-_./".utf8.contains($0) }
    if isPlain, !words.contains(text.lowercased()) { return text }
    return "\"" + text.replacing("\\", with: "\\\\").replacing("\"", with: "\\\"") + "\""
}
