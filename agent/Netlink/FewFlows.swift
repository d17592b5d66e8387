// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: natfleet contributors

import AgentCore
import Glibc
import NetAddress

/// The original tuples of all tracked flows of the network namespace that the calling thread is in, where they are few.
///
/// To dump the table the kernel locks each bucket of its hash table, which all network namespaces share: 10 ms for 262,144 of
/// them, in which that processor does nothing else. For /proc/net/nf_conntrack it only looks (nf_conntrack_standalone.c): 0.1 ms
/// for each page of that file, which holds some 20 flows. From one page to the next the kernel counts: when a flow ends between
/// the two, another one may be left out, and when one begins, another one be told twice.
///
/// - Parameter pages: as many at most; 1 for all flows in one go, as many as the kernel counts.
/// - Returns: nil where there are more, where one is of a zone or of a protocol that is read otherwise, and where there is no such
///   file (CONFIG_NF_CONNTRACK_PROCFS off).
func fewFlows(pages: Int) -> [FlowTuple]? {
    // The thread's, not the process's.
    let descriptor = open("/proc/thread-self/net/nf_conntrack", O_RDONLY | O_CLOEXEC)
    guard descriptor >= 0 else { return nil }
    defer { close(descriptor) }
    var bytes: [UInt8] = []
    var page = [UInt8](repeating: 0, count: 4096)
    for number in 0..<pages {
        let count = read(descriptor, &page, page.count)
        guard count >= 0 else { return nil }
        bytes += page[..<count]
        // Only the last flow leaves room for another one: a line is shorter than a quarter of a page.
        guard count == 0 || number == 0 && count <= 3072 else { continue }
        let tuples = flowTuples(in: String(decoding: bytes, as: UTF8.self))
        // Linux 6.16 leaves one out behind one that has just expired, within a page too.
        return pages > 1 || tuples?.count == conntrackCount() ? tuples : nil
    }
    return nil
}

/// - Parameter text: lines of /proc/net/nf_conntrack.
/// - Returns: nil where one of them is not understood, or not of this table's own zone.
func flowTuples(in text: String) -> [FlowTuple]? {
    var tuples: [FlowTuple] = []
    for line in text.split(separator: "\n") {
        guard let tuple = FlowTuple(line: line) else { return nil }
        tuples.append(tuple)
    }
    return tuples
}

extension FlowTuple {
    /// `ipv4 2 tcp 6 117 SYN_SENT src=… dst=… sport=… dport=… [UNREPLIED] src=… … zone=0 use=2`
    fileprivate init?(line: Substring) {
        let words = line.split(separator: " ")
        guard words.count > 4, let protocolNumber = UInt8(words[3]) else { return nil }
        var values: [Substring: Substring] = [:]
        for word in words.dropFirst(4) {
            guard let sign = word.firstIndex(of: "=") else { continue }
            let (key, value) = (word[..<sign], word[word.index(after: sign)...])
            if key.hasPrefix("zone"), value != "0" { return nil }
            // The first of two is the original's.
            if values[key] == nil { values[key] = value }
        }
        func number<Value: FixedWidthInteger>(_ key: Substring) -> Value? { values[key].flatMap { Value($0) } }
        guard let source = values["src"].flatMap({ try? IPAddress(String($0)) }),
            let destination = values["dst"].flatMap({ try? IPAddress(String($0)) })
        else { return nil }
        let detail: Detail
        if let from: UInt16 = number("sport"), let to: UInt16 = number("dport") {
            detail = .ports(source: from, destination: to)
        } else if let type: UInt8 = number("type"), let code: UInt8 = number("code"), let id: UInt16 = number("id") {
            detail = .icmp(type: type, code: code, id: id)
        } else {
            return nil
        }
        self.init(source: source, destination: destination, protocolNumber: protocolNumber, detail: detail)
    }
}
