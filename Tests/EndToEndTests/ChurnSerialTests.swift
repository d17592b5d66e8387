// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: natfleet contributors

import FleetModel
import Foundation
import TestSupport
import Testing

/// A policy that changes a hundred times under traffic: nothing leaves untranslated, nothing breaks that was not touched.
@Suite(.enabled("needs root and namespaces") { await FleetLab.isAvailable })
struct ChurnSerialTests {
    private static let changes = 100
    /// One back end an instance, so that one lab shows both.
    private static let places = [
        Place(instance: "nat-a", backEnd: .nft, subnet: 1, clients: ["client-a", "client-x"], number: 11),
        Place(instance: "nat-b", backEnd: .legacy, subnet: 2, clients: ["client-b"], number: 12),
    ]

    @Test(.timeLimit(.minutes(10)))
    func aHundredChangesUnderTrafficLeakNothingAndBreakNothing() async throws {
        try await FleetLab.run { lab in
            for place in Self.places { try await lab.use(place.backEnd, on: place.instance) }
            let controller = try await lab.startController()
            var agents: [Daemon] = []
            for place in Self.places { agents.append(try await lab.startAgent(place.instance)) }
            try await lab.apply(Churn.base)
            for place in Self.places {
                try await lab.apply(Policies.portMapping(place.instance, subnet: place.subnet))
            }
            try await lab.converged("nat-a", "nat-b")
            let kept = try Self.places.flatMap { try lab.connections(through: $0) }
            let openers = try Self.places.flatMap { try lab.openers(through: $0) }
            for connection in kept {
                try await eventually(within: 15, "\(connection.name) is open: \(connection.daemon.output)") {
                    connection.beats > 0
                }
            }

            for number in 1...Self.changes {
                try await lab.apply(Churn.change(number))
                try await lab.running("nat-a", "nat-b")
                for connection in kept where !connection.daemon.isRunning {
                    Issue.record("change \(number): \(connection.name) broke: \(connection.daemon.output.suffix(300))")
                    return
                }
            }

            for place in Self.places {
                #expect(try await lab.leaks(place.instance) == "ipv4=0 ipv6=0", "\(place.instance)")
                try await lab.expectOnly(place.backEnd, on: place.instance)
            }
            for connection in kept {
                let beats = connection.beats
                try await eventually(within: 15, "\(connection.name) goes on") { connection.beats > beats }
            }
            for opener in openers {
                await opener.end()
                #expect((Int(opener.output.split(separator: "\n").last ?? "") ?? 0) > Self.changes, "\(opener.output)")
            }
            for agent in agents { await agent.end() }
            try await expectCountersMove(lab)
            #expect(controller.isRunning)
        }
    }

    /// The counter counts: without nat the same traffic is a leak.
    private func expectCountersMove(_ lab: FleetLab) async throws {
        for place in Self.places {
            for program in ["iptables", "ip6tables"] {
                try await lab.shell(place.instance, "\(program) -t nat -F; conntrack -F 2>/dev/null")
            }
            for address in ["198.51.100.7", "2001:db8:ffff::7"] {
                _ = try await lab.ask(place.clients[0], "udp", address, 53, seconds: 1)
            }
            let moved = try await lab.leaks(place.instance)
            #expect(!moved.contains("ipv4=0") && !moved.contains("ipv6=0"), "\(place.instance): \(moved)")
        }
    }
}

private struct Place: Sendable {
    var instance: String
    var backEnd: BackEnd
    var subnet: Int
    var clients: [String]
    var number: Int
}

/// A connection that stays open, and says so with a line a tenth of a second.
private struct KeptConnection {
    var name: String
    var daemon: Daemon

    var beats: Int { daemon.output.count { $0 == "\n" } }
}

/// What changes a hundred times: everything but the entries of the connections that are watched.
private enum Churn {
    /// Subnets a and b keep their masquerade; x comes and goes.
    private static let constant = """
            - {name: egress, sources: [10.0.1.0/24, 10.0.2.0/24, "2001:db8:0:101::/64", "2001:db8:0:102::/64"]}
        """

    static let base = document("")

    static func change(_ number: Int) -> String {
        let shape = number % 5
        let more =
            switch shape {
            case 0: ""
            case 1: "    - {name: x, sources: [10.0.4.0/24, \"2001:db8:0:104::/64\"]}\n"
            case 2: "    - {name: x, sources: [10.0.4.0/24, \"2001:db8:0:104::/64\"], randomFully: false}\n"
            case 3: "    - {name: x, sources: [10.0.4.0/24], families: [ipv4], except: [192.0.2.0/24]}\n"
            default: "    - {name: x, sources: [\"2001:db8:0:104::/64\"], families: [ipv6]}\n"
            }
        let count = [0, 1, 30, 2, 20][shape]
        let forwards = (0..<count).map { index in
            "    - {name: p\(index), protocol: tcp, port: \(9100 + index), to: \"10.0.1.80:\(9000 + number % 20)\"}\n"
        }
        return document(more + (count == 0 ? "" : "  dnat:\n" + forwards.joined()), priority: 50 + number % 100)
    }

    private static func document(_ more: String, priority: Int = 100) -> String {
        """
        apiVersion: natfleet/v1
        kind: NATPolicy
        metadata: {name: churn}
        spec:
          priority: \(priority)
          selector: {matchLabels: {vpc: demo}}
          forwarding: {ipv4: true, ipv6: true}
          masquerade:
        \(constant)
        \(more)
        ---

        """
    }
}

extension FleetLab {
    /// Echoes of a TCP connection (`tcp`), or datagrams of one socket that the other end must go on seeing from one
    /// port (`udp`). Ends at the first that fails.
    private static let keep = """
        exec 3<>"/dev/$1/$2/$3" || exit 1
        misses=0
        while :; do
            echo beat >&3
            # dd takes what one read gives, which for UDP is the whole datagram.
            answer=$(timeout 5 dd bs=65536 count=1 status=none <&3)
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
            sleep 0.1
        done
        """

    /// New flows all the time, to ports where nobody listens but the leak counter would see them. Prints their number.
    private static let open = """
        count=0
        trap 'echo $count; exit' TERM
        while :; do
            for address in 198.51.100.7 2001:db8:ffff::7; do
                { echo >/dev/udp/$address/9; } 2>/dev/null
                timeout 1 bash -c ": >/dev/tcp/$address/9" 2>/dev/null &
            done
            ((count += 4))
            wait
            sleep 0.03
        done
        """

    fileprivate func connections(through place: Place) throws -> [KeptConnection] {
        let outside = ["198.51.100.7", "2001:db8:ffff::7"]
        let own = ["203.0.113.\(place.number)", "2001:db8:0:100::\(place.number)"]
        return try outside.flatMap { [(place.clients[0], "tcp", $0, 80), (place.clients[0], "udp", $0, 53)] }
            .appending(own.map { ("outsider", "tcp", $0, 8001) })
            .map { host, kind, address, port in
                KeptConnection(
                    name: "\(host) \(kind) \(address) \(port)",
                    daemon: try daemon(host, ["bash", "-c", Self.keep, "keep", kind, address, "\(port)"]))
            }
    }

    fileprivate func openers(through place: Place) throws -> [Daemon] {
        try place.clients.map { try daemon($0, ["bash", "-c", Self.open]) }
    }

    /// Waits until instances run what they should. Whatever shows beside it is another test's.
    fileprivate func running(_ ids: String...) async throws {
        try await eventually(within: 60, "\(ids) run what they should") {
            let instances = try await instances().filter { ids.contains($0.id) }
            return instances.count == ids.count
                && instances.allSatisfy { $0.desiredHash != nil && $0.status?.runningHash == $0.desiredHash }
        }
    }
}

extension Array {
    fileprivate func appending(_ more: [Element]) -> [Element] { self + more }
}
