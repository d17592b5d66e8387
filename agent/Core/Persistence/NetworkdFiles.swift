// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: natfleet contributors

/// Text of the files that systemd-networkd reads (systemd.network(5), networkd.conf(5)).
package enum NetworkdFiles {
    private static let keys: Set = ["IPForward", "IPv4Forwarding", "IPv6Forwarding"]
    /// `kernel` and what is no leave it alone.
    private static let on: Set = ["yes", "true", "on", "1", "ipv4", "ipv6"]

    /// Settings that turn forwarding on as soon as an interface comes up, as `FILE:LINE sets KEY = VALUE`.
    package static func forwarding(in text: String, of path: String) -> [String] {
        text.split(separator: "\n", omittingEmptySubsequences: false).enumerated().compactMap { number, line in
            let sides = line.split(separator: "=", maxSplits: 1).map { side in side.filter { !$0.isWhitespace } }
            guard sides.count == 2, keys.contains(sides[0]), on.contains(sides[1].lowercased()) else { return nil }
            return "\(path):\(number + 1) sets \(sides[0]) = \(sides[1])"
        }
    }
}
