// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: natfleet contributors

import NetAddress

extension Rule {
    /// The rule as `iptables-save` prints it, without counters: `-A CHAIN …`. One line whatever the strings hold.
    package func line(in chain: String) -> String {
        var line = "-A "
        // By appending, here and below: with many port forwards this is most of what compiling costs.
        line.reserveCapacity(240)
        line += word(chain)
        if let source, !source.isEverything { line += " -s " + source.description }
        if let destination, !destination.isEverything { line += " -d " + destination.description }
        if let inInterface { line += " -i " + word(inInterface) }
        if let outInterface { line += " -o " + word(outInterface) }
        transport?.write(to: &line)
        for match in connection { match.write(to: &line) }
        line += " -m comment --comment "
        line += quoted(comment)
        target.write(to: &line)
        return line
    }
}

extension Jump {
    /// As `iptables-save` prints it.
    package var line: String { "-A \(from.rawValue) -j \(word(to))" }
}

// Each part with a space before it.

extension TransportMatch {
    fileprivate func write(to line: inout String) {
        switch self {
        case .any(let name):
            line += " -p "
            line += name.rawValue
        case .ports(let name, let ports):
            line += name == .tcp ? " -p tcp -m tcp --dport " : " -p udp -m udp --dport "
            line += ports.colonText
        case .icmpv6(let type):
            line += " -p ipv6-icmp -m icmp6 --icmpv6-type "
            line += String(type)
        }
    }
}

extension ConnectionMatch {
    fileprivate func write(to line: inout String) {
        line += isInverted ? " -m conntrack ! --ctstate" : " -m conntrack --ctstate"
        var separator = " "
        for state in State.allCases where states.contains(state) {
            line += separator
            line += state.rawValue
            separator = ","
        }
        // Unlike -d, a single address has no /32 or /128 here.
        if let originalDestination { line += " --ctorigdst " + originalDestination.description }
        if let originalPorts { line += " --ctorigdstport " + originalPorts.colonText }
    }
}

extension Target {
    fileprivate func write(to line: inout String) {
        switch self {
        case .accept: line += " -j ACCEPT"
        case .drop: line += " -j DROP"
        case .jump(let chain): line += " -j " + word(chain)
        case .goTo(let chain): line += " -g " + word(chain)
        case .masquerade(let randomFully): line += randomFully ? " -j MASQUERADE --random-fully" : " -j MASQUERADE"
        case .dnat(let address, let ports):
            line += " -j DNAT --to-destination "
            // IPv6 is in brackets only where a port follows.
            line += ports == .unchanged ? address.description : address.bracketed
            line += ports.suffix
        }
    }
}

extension TargetPorts {
    fileprivate var suffix: String {
        switch self {
        case .unchanged: ""
        case .single(let port): ":\(port)"
        case .shifted(let range, let base): ":\(range)/\(base)"
        }
    }
}

extension PortRange {
    fileprivate var colonText: String { isSingle ? String(first) : "\(first):\(last)" }
}

/// Whether an interface's or chain's name can stand in a rule as it is. `+` at the end would be a wildcard.
package func canBeWritten(_ name: String) -> Bool {
    !name.isEmpty && name.utf8.allSatisfy(isWordByte)
}

/// A name as one word of a restore line. What cannot be written there becomes `?`, so that a hostile name makes a rule
/// that matches nothing, never a second rule.
func word(_ name: String) -> String {
    if canBeWritten(name) { return name }
    let bytes = name.utf8.map { isWordByte($0) ? $0 : UInt8(ascii: "?") }
    return bytes.isEmpty ? "?" : String(decoding: bytes, as: UTF8.self)
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
    let escaped =
        bytes.contains(where: isEscaped)
        ? bytes.flatMap { isEscaped($0) ? [UInt8(ascii: "\\"), $0] : [$0] } : bytes
    return "\"" + String(decoding: escaped, as: UTF8.self) + "\""
}

private func isEscaped(_ byte: UInt8) -> Bool {
    byte == UInt8(ascii: "\"") || byte == UInt8(ascii: "'") || byte == UInt8(ascii: "\\")
}
