// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: natfleet contributors

import Foundation
import Testing

/// A client that opens a connection to the internet every tenth of a second, and counts who answers.
struct SteadyTraffic: Sendable {
    let client: Daemon

    private static let script = """
        while :; do
            bash "$0" tcp $1 80 3 || echo nobody
            sleep 0.1
        done
        """

    private var lines: [Substring] { client.output.split(separator: "\n") }

    /// All of them were answered, and there were some.
    func expectAllAnswered(atLeast count: Int, sourceLocation: SourceLocation = #_sourceLocation) async {
        await client.end()
        let wrong = lines.filter { !$0.hasPrefix("internet saw ") }
        #expect(wrong.isEmpty, "\(wrong.prefix(3)) of \(lines.count)", sourceLocation: sourceLocation)
        #expect(lines.count >= count, sourceLocation: sourceLocation)
    }

    init(_ host: String, _ lab: FleetLab, to address: String = "198.51.100.7") throws {
        let ask = FleetLab.root.appendingPathComponent("Tests/Lab/lib/ask.sh").path
        client = try lab.daemon(host, ["bash", "-c", Self.script, ask, address])
    }
}

extension FleetLab {
    /// One UDP flow over IPv6, which asks a server of the internet again and again whom it sees.
    func startFlow(_ client: String) throws -> Daemon {
        let script = """
            exec 3<>/dev/udp/2001:db8:ffff::7/53
            while :; do
                echo >&3
                timeout 0.3 dd bs=65536 count=1 status=none <&3
                sleep 0.1
            done
            """
        return try daemon(client, ["bash", "-c", script])
    }
}
