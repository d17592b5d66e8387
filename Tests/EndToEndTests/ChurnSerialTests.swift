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
    private static let countedFor = [("nat-a", "client-a"), ("nat-b", "client-b"), ("nat-c", "client-c")]

    @Test(.timeLimit(.minutes(10)))
    func aHundredChangesUnderTrafficLeakNothingAndBreakNothing() async throws {
        try await FleetLab.run { lab in
            for place in Self.places { try await lab.use(place.backEnd, on: place.instance) }
            let controller = try await lab.startController()
            var agents: [Daemon] = []
            for place in Self.places { agents.append(try await lab.startAgent(place.instance)) }
            let token = try await lab.joinToken("--instance", "nat-c")
            try await lab.writeConfiguration("nat-c", token: token)
            agents.append(try lab.runAgent("nat-c"))
            try await lab.apply(Churn.base + Churn.flip(0))
            for place in Self.places {
                try await lab.apply(
                    Policies.portMapping(place.instance, subnet: place.subnet)
                        + Churn.datagrams(place.instance, subnet: place.subnet))
            }
            try await lab.converged("nat-a", "nat-b", "nat-c")
            let kept = try Self.places.flatMap { try lab.connections(through: $0) }
            let openers = try await lab.openers()
            try await kept.expectOpen()
            var switched: [String: KeptConnection] = [:]
            try await follow(&switched, 0, lab)

            let start = ContinuousClock.now
            for number in 1...Self.changes {
                try await lab.apply(Churn.change(number))
                try await lab.running("nat-a", "nat-b", "nat-c")
                for connection in kept + switched.values where !connection.daemon.isRunning {
                    Issue.record("change \(number): \(connection.name) broke: \(connection.daemon.output.suffix(300))")
                    return
                }
                try await follow(&switched, number, lab)
            }

            #expect(try await lab.leaks("nat-c") == "ipv4=0 ipv6=0")
            for place in Self.places {
                #expect(try await lab.leaks(place.instance) == "ipv4=0 ipv6=0", "\(place.instance)")
                try await lab.expectOnly(place.backEnd, on: place.instance)
            }
            try await kept.expectOpen()
            for opener in openers {
                await opener.end()
                let count = Int(opener.output.split(separator: "\n").last ?? "") ?? 0
                #expect(Double(count) > 20 * start.duration(to: .now).seconds, "\(opener.output)")
            }
            for agent in agents { await agent.end() }
            try await expectCountersMove(lab)
            #expect(controller.isRunning)
        }
    }

    /// A connection through nat-c begins when its family has been switched on, and is open just before that is switched off:
    /// over the other family's way off and on.
    private func follow(_ open: inout [String: KeptConnection], _ number: Int, _ lab: FleetLab) async throws {
        for (address, begin) in [("198.51.100.7", 0), ("2001:db8:ffff::7", 10)] {
            switch number % 20 {
            case begin: open[address] = try KeptConnection(lab, "client-c", "tcp", address, 80)
            case (begin + 14) % 20:
                guard let connection = open.removeValue(forKey: address) else { break }
                try await [connection].expectOpen()
                await connection.daemon.end()
            default: break
            }
        }
    }

    /// The counter counts: without nat the same traffic is a leak.
    private func expectCountersMove(_ lab: FleetLab) async throws {
        for (instance, client) in Self.countedFor {
            for program in ["iptables", "ip6tables"] {
                try await lab.shell(instance, "\(program) -t nat -F; conntrack -F 2>/dev/null")
            }
            try await lab.expectLeaks(instance, client)
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

/// What changes a hundred times: everything but the entries of the connections that are watched.
private enum Churn {
    /// Subnet a and a client of b keep their masquerade; that of subnet x, and of another client of b, comes and goes.
    private static let constant = """
            - {name: egress, sources: [10.0.1.0/24, 10.0.2.10, "2001:db8:0:101::/64", "2001:db8:0:102::10"]}
        """
    private static let four = "10.0.4.0/24, 10.0.2.12"
    private static let six = #""2001:db8:0:104::/64", "2001:db8:0:102::12""#

    static let base = document("")

    static func change(_ number: Int) -> String {
        let shape = number % 5
        let more =
            switch shape {
            case 0: ""
            case 1: "    - {name: x, sources: [\(four), \(six)]}\n"
            case 2: "    - {name: x, sources: [\(four), \(six)], randomFully: false}\n"
            case 3: "    - {name: x, sources: [\(four)], families: [ipv4], except: [192.0.2.0/24]}\n"
            default: "    - {name: x, sources: [\(six)], families: [ipv6]}\n"
            }
        let count = [0, 1, 30, 2, 20][shape]
        let forwards = (0..<count).map { index in
            "    - {name: p\(index), protocol: tcp, port: \(9100 + index), to: \"10.0.1.80:\(9000 + number % 20)\"}\n"
        }
        let churn = document(more + (count == 0 ? "" : "  dnat:\n" + forwards.joined()), priority: 50 + number % 100)
        return number % 5 == 0 ? churn + flip(number / 5) : churn
    }

    /// A forward of datagrams that nothing changes, beside that of connections.
    static func datagrams(_ instance: String, subnet: Int) -> String {
        Policies.portMapping(instance, subnet: subnet, port: 53)
            .replacing("protocol: tcp", with: "protocol: udp").replacing("name: web-", with: "name: dns-")
    }

    /// Another instance's, which switches a family off and on, one after the other.
    static func flip(_ number: Int) -> String {
        let isOn = [(true, true), (true, false), (true, true), (false, true)][number % 4]
        let families = (isOn.0 ? ["10.0.3.0/24"] : []) + (isOn.1 ? [#""2001:db8:0:103::/64""#] : [])
        return """
            apiVersion: natfleet/v1
            kind: NATPolicy
            metadata: {name: flip}
            spec:
              selector: {instances: [nat-c]}
              forwarding: {ipv4: \(isOn.0), ipv6: \(isOn.1)}
              masquerade:
                - {name: egress, sources: [\(families.joined(separator: ", "))]}
            ---

            """
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
    /// New flows all the time, to ports where nobody listens but the leak counter would see them: TCP twice a second, and up
    /// to 40 datagrams of new sockets a second and family, since what lasts for a millisecond is met by chance only; not
    /// more, since the kernel tracks each for half a minute and the machine has other things to do. Prints how many
    /// datagrams there were.
    private static let open = """
        count=0
        exec 4<> <(:)
        trap 'echo $count; exit' TERM
        while :; do
            for address in "$@"; do
                timeout 1 bash -c ": >/dev/tcp/$address/9" 2>/dev/null &
            done
            for _ in {1..10}; do
                for address in "$@" "$@"; do { echo >/dev/udp/$address/9; } 2>/dev/null; ((++count)); done
                # A pause that starts no program.
                read -rt 0.05 -u 4
            done
        done
        """

    /// A second address of a client, for flows to places of their own.
    private static let another = """
        ip address add 10.0.2.12/24 dev eth0
        ip route add 198.51.100.8 via 10.0.2.1 src 10.0.2.12
        ip address add 2001:db8:0:102::12/64 dev eth0 nodad
        ip -6 route add 2001:db8:ffff::8 via fe80::1 dev eth0 src 2001:db8:0:102::12
        """

    fileprivate func connections(through place: Place) throws -> [KeptConnection] {
        let outside = ["198.51.100.7", "2001:db8:ffff::7"]
        let own = ["203.0.113.\(place.number)", "2001:db8:0:100::\(place.number)"]
        return try outside.flatMap { [(place.clients[0], "tcp", $0, 80), (place.clients[0], "udp", $0, 53)] }
            .appending(own.map { ("outsider", "tcp", $0, 8001) })
            // One is enough of what starts so many programs.
            .appending([("outsider", "udp", own[place.number % 2], 8001)])
            .map { try KeptConnection(self, $0, $1, $2, $3) }
    }

    /// Sources that masquerades come to and go from, and one of each instance that they always cover.
    fileprivate func openers() async throws -> [Daemon] {
        try await shell("client-b", Self.another)
        let (usual, apart) = (["198.51.100.7", "2001:db8:ffff::7"], ["198.51.100.8", "2001:db8:ffff::8"])
        return try [
            ("client-a", usual), ("client-x", usual), ("client-b", usual), ("client-b", apart), ("client-c", usual),
        ].map { try daemon($0, ["bash", "-c", Self.open, "open"] + $1) }
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

extension Duration {
    fileprivate var seconds: Double { Double(components.seconds) }
}
