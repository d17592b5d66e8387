// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: natfleet contributors

package import AgentCore
import Glibc
package import NetAddress

/// What tells whether rules of the legacy back end have changed, both families, without a program in between. The legacy back
/// end counts no generations.
///
/// - Parameters:
///   - names: the tables of each family, as /proc/net/ip_tables_names lists them: asking for another one would make it.
///   - contents: look at the rules too, some 500 bytes each.
/// - Returns: nil where the kernel may not be asked, or a table was replaced meanwhile.
package func legacyMark(_ names: [IPFamily: [String]], contents: Bool) -> LegacyMark? {
    var (outline, rules) = (Hasher(), Hasher())
    for (family, names) in names.sorted(by: { $0.key.rawValue < $1.key.rawValue }) where !names.isEmpty {
        guard let tables = LegacyTables(family) else { return nil }
        defer { tables.close() }
        for name in names {
            guard let information = tables.information(name) else { return nil }
            outline.combine(information)
            guard contents else { continue }
            guard let entries = tables.entries(name, size: LegacyTables.size(information)) else { return nil }
            tables.combine(entries, into: &rules)
        }
    }
    return LegacyMark(outline: outline.finalize(), contents: contents ? rules.finalize() : nil)
}

/// The questions of linux/netfilter_ipv4/ip_tables.h and linux/netfilter_ipv6/ip6_tables.h, whose numbers are the same.
private struct LegacyTables {
    private static let getInformation: Int32 = 64
    private static let getEntries: Int32 = 65
    /// XT_TABLE_MAXNAMELEN of linux/netfilter/x_tables.h.
    private static let nameLength = 32
    /// `struct ipt_getinfo`: the name, valid_hooks, hook_entry and underflow of five hooks, num_entries, size.
    private static let informationLength = nameLength + 4 * 13
    /// `struct ipt_get_entries`: the name, size, then entries that begin at a multiple of eight.
    private static let entriesHeader = nameLength + 8

    private let socket: Int32
    private let level: Int32
    /// Where `struct ipt_entry` or `ip6t_entry` has its next_offset and its counters, of 16 bytes.
    private let nextOffset: Int
    private let counters: Int

    init?(_ family: IPFamily) {
        let isFour = family == .ipv4
        socket = Glibc.socket(
            isFour ? AF_INET : AF_INET6, Int32(SOCK_DGRAM.rawValue | SOCK_CLOEXEC.rawValue), 0)
        guard socket >= 0 else { return nil }
        level = Int32(isFour ? IPPROTO_IP : IPPROTO_IPV6)
        (nextOffset, counters) = isFour ? (90, 96) : (142, 152)
    }

    func close() { _ = Glibc.close(socket) }

    func information(_ name: String) -> [UInt8]? {
        ask(Self.getInformation, name, length: Self.informationLength)
    }

    /// In bytes, of all entries.
    static func size(_ information: [UInt8]) -> UInt32 {
        information[...].native(UInt32.self, at: informationLength - 4) ?? 0
    }

    func entries(_ name: String, size: UInt32) -> [UInt8]? {
        ask(Self.getEntries, name, size: size, length: Self.entriesHeader + Int(size))
    }

    private func ask(_ question: Int32, _ name: String, size: UInt32 = 0, length: Int) -> [UInt8]? {
        guard name.utf8.count < Self.nameLength else { return nil }
        // Zeros, since the kernel leaves out what is private to it or padding.
        var answer = [UInt8](repeating: 0, count: length)
        answer.replaceSubrange(0..<name.utf8.count, with: name.utf8)
        withUnsafeBytes(of: size) { answer.replaceSubrange(Self.nameLength..<Self.nameLength + 4, with: $0) }
        var filled = socklen_t(length)
        let status = answer.withUnsafeMutableBytes { getsockopt(socket, level, question, $0.baseAddress, &filled) }
        return status == 0 && filled == length ? answer : nil
    }

    /// All but the counters.
    func combine(_ entries: [UInt8], into hasher: inout Hasher) {
        entries.withUnsafeBytes { bytes in
            var start = Self.entriesHeader
            while start + counters + 16 <= bytes.count {
                let next = start + Int(bytes.loadUnaligned(fromByteOffset: start + nextOffset, as: UInt16.self))
                guard next >= start + counters + 16, next <= bytes.count else { break }
                hasher.combine(bytes: UnsafeRawBufferPointer(rebasing: bytes[start..<start + counters]))
                hasher.combine(bytes: UnsafeRawBufferPointer(rebasing: bytes[start + counters + 16..<next]))
                start = next
            }
        }
    }
}
