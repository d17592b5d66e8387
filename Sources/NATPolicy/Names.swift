// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: natfleet contributors

/// The alphabets of what people name. Names become comments of rules, parts of chains and of file names, so they hold
/// nothing that a shell, a restore file or a terminal would read as more than text.
package enum NameRule {
    /// `[A-Za-z0-9][A-Za-z0-9._-]{0,62}`: policies, entries, instance ids.
    package static func isName(_ text: some StringProtocol) -> Bool {
        matches(text, maxLength: 63, also: "._-")
    }

    /// `[A-Za-z0-9][A-Za-z0-9._/-]{0,127}`; the slash is for `aws/az` and `agent/role`.
    package static func isLabelKey(_ text: some StringProtocol) -> Bool {
        matches(text, maxLength: 128, also: "._/-")
    }

    /// `[A-Za-z0-9][A-Za-z0-9._/:@+-]{0,127}`.
    package static func isLabelValue(_ text: some StringProtocol) -> Bool {
        matches(text, maxLength: 128, also: "._/:@+-")
    }

    /// A network interface that rules and sysctls can name: narrower than the kernel, which forbids only `/`, `:`,
    /// blanks and more than 15 bytes. A final `+` would be a wildcard to iptables; `all` and `default` are not
    /// interfaces but folders of `/proc/sys/net/ipv4/conf`.
    package static func isInterface(_ text: some StringProtocol) -> Bool {
        matches(text, maxLength: 15, also: "._-") && text != "all" && text != "default"
    }

    private static func matches(_ text: some StringProtocol, maxLength: Int, also others: StaticString) -> Bool {
        func isAlphanumeric(_ byte: UInt8) -> Bool {
            switch byte {
            case UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
                UInt8(ascii: "a")...UInt8(ascii: "z"):
                true
            default: false
            }
        }
        guard let first = text.utf8.first, isAlphanumeric(first), text.utf8.count <= maxLength else { return false }
        return others.withUTF8Buffer { others in
            text.utf8.allSatisfy { isAlphanumeric($0) || others.contains($0) }
        }
    }
}
