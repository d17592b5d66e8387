// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: natfleet contributors

import NetAddress

extension Rule {
    /// The rule as `iptables-save` prints it, without counters: `-A CHAIN …`. One line whatever the strings hold.
    package func line(in chain: String) -> String {
        var line = "-A \(word(chain))"
        if let source, !source.isEverything { line += " -s \(source)" }
        if let destination, !destination.isEverything { line += " -d \(destination)" }
        if let inInterface { line += " -i \(word(inInterface))" }
        if let outInterface { line += " -o \(word(outInterface))" }
        if let transport { line += transport.text }
        for match in connection { line += match.text }
        line += " -m comment --comment "
        line += quoted(comment)
        line += target.text
        return line
    }
}

extension Jump {
    /// As `iptables-save` prints it.
    package var line: String { "-A \(from.rawValue) -j \(word(to))" }
}

// Each part with a space before it.

extension TransportMatch {
    fileprivate var text: String {
        switch self {
        case .any(let name): " -p \(name.rawValue)"
        case .ports(let name, let ports): " -p \(name.rawValue) -m \(name.rawValue) --dport \(ports.colonText)"
        case .icmpv6(let type): " -p ipv6-icmp -m icmp6 --icmpv6-type \(type)"
        }
    }
}

extension ConnectionMatch {
    fileprivate var text: String {
        let list = State.allCases.filter(states.contains).map(\.rawValue).joined(separator: ",")
        var text = " -m conntrack\(isInverted ? " !" : "") --ctstate \(list)"
        // Unlike -d, a single address has no /32 or /128 here.
        if let originalDestination { text += " --ctorigdst \(originalDestination)" }
        if let originalPorts { text += " --ctorigdstport \(originalPorts.colonText)" }
        return text
    }
}

extension Target {
    fileprivate var text: String {
        switch self {
        case .accept: return " -j ACCEPT"
        case .drop: return " -j DROP"
        case .jump(let chain): return " -j \(word(chain))"
        case .goTo(let chain): return " -g \(word(chain))"
        case .masquerade(let randomFully): return " -j MASQUERADE\(randomFully ? " --random-fully" : "")"
        case .dnat(let address, let ports):
            let suffix =
                switch ports {
                case .unchanged: ""
                case .single(let port): ":\(port)"
                case .shifted(let range, let base): ":\(range)/\(base)"
                }
            // IPv6 is in brackets only where a port follows.
            return " -j DNAT --to-destination \(suffix.isEmpty ? "\(address)" : address.bracketed)\(suffix)"
        }
    }
}

extension PortRange {
    fileprivate var colonText: String { isSingle ? "\(first)" : "\(first):\(last)" }
}

/// Whether an interface's or chain's name can stand in a rule as it is. `+` at the end would be a wildcard.
package func canBeWritten(_ name: String) -> Bool {
    !name.isEmpty && name.utf8.allSatisfy(isWordByte)
}

/// A name as one word of a restore line. What cannot be written there becomes `?`, so that a hostile name makes a rule
/// that matches nothing, never a second rule.
func word(_ name: String) -> String {
    name.isEmpty ? "?" : String(decoding: name.utf8.map { isWordByte($0) ? $0 : UInt8(ascii: "?") }, as: UTF8.self)
}

private func isWordByte(_ byte: UInt8) -> Bool {
    switch byte {
    case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
        UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "."), UInt8(ascii: "_"), UInt8(ascii: "-"):
        true
    default: false
    }
}

/// A comment as `iptables-save` prints it: bare when it has only letters, digits, `-` and `_`, else in double quotes
/// with a backslash before quotes and backslashes (`xtables_save_string`). The kernel's limit is 255 bytes.
private func quoted(_ comment: String) -> String {
    let bytes = comment.utf8.prefix(255).map { (0x20...0x7e).contains($0) ? $0 : UInt8(ascii: "?") }
    let isBare = bytes.allSatisfy { isWordByte($0) && $0 != UInt8(ascii: ".") }
    guard !isBare || bytes.isEmpty else { return String(decoding: bytes, as: UTF8.self) }
    guard bytes.contains(where: isEscaped) else { return "\"" + String(decoding: bytes, as: UTF8.self) + "\"" }
    let escaped = bytes.flatMap { isEscaped($0) ? [UInt8(ascii: "\\"), $0] : [$0] }
    return "\"" + String(decoding: escaped, as: UTF8.self) + "\""
}

private func isEscaped(_ byte: UInt8) -> Bool {
    byte == UInt8(ascii: "\"") || byte == UInt8(ascii: "'") || byte == UInt8(ascii: "\\")
}
