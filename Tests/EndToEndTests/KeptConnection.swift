// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: natfleet contributors

import Foundation
import Testing

/// A connection that stays open, and says so with a few lines a second.
struct KeptConnection: Sendable {
    var name: String
    var daemon: Daemon

    var beats: Int { daemon.output.count { $0 == "\n" } }

    /// Echoes of a TCP connection (`tcp`), or datagrams of one socket that the other end must go on seeing from one
    /// port (`udp`). Ends at the first that fails.
    private static let keep = """
        exec 3<>"/dev/$1/$2/$3" || exit 1
        # Nothing comes from there: a pause that starts no program.
        exec 4<> <(:)
        misses=0
        while :; do
            echo beat >&3
            if [[ $1 == tcp ]]; then
                read -rt 5 answer <&3
            else
                # dd takes what one read gives, which is the whole datagram.
                answer=$(timeout 5 dd bs=65536 count=1 status=none <&3)
            fi
            if [[ $answer ]]; then
                misses=0
                if [[ $1 == udp ]]; then
                    seen=${answer#*saw }
                    [[ ${first:=$seen} == "$seen" ]] || { echo "was $first, is $seen"; exit 1; }
                fi
            elif [[ $1 == tcp ]] || ((++misses > 3)); then
                exit 1
            fi
            echo beat
            read -rt 0.3 -u 4
        done
        """

    init(_ lab: FleetLab, _ host: String, _ kind: String, _ address: String, _ port: Int) throws {
        name = "\(host) \(kind) \(address) \(port)"
        daemon = try lab.daemon(host, ["bash", "-c", Self.keep, "keep", kind, address, "\(port)"])
    }
}

extension [KeptConnection] {
    /// All of them are open.
    func expectOpen(sourceLocation: SourceLocation = #_sourceLocation) async throws {
        for connection in self {
            let beats = connection.beats
            try await eventually(
                within: 15, "\(connection.name) goes on: \(connection.daemon.output.suffix(300))",
                sourceLocation: sourceLocation
            ) { connection.beats > beats + 1 }
        }
    }

    /// Each of them breaks.
    func expectEnd(sourceLocation: SourceLocation = #_sourceLocation) async throws {
        for connection in self {
            try await eventually(within: 10, "\(connection.name) ends", sourceLocation: sourceLocation) {
                !connection.daemon.isRunning
            }
        }
    }
}
