// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: natfleet contributors

import FleetAPI
import Foundation
import NATPolicy
import TestSupport
import Testing

/// SIGKILL of the controller at random moments: nothing that was acknowledged is lost, and packets never notice.
@Suite(.enabled("needs root and namespaces") { await FleetLab.isAvailable })
struct KillSerialTests {
    private static let seed: UInt64 = 20_250_611
    private static let kills = 50
    private static let paths = [
        Path(program: "iptables", server: "198.51.100.7", port: "53", translated: "203.0.113.11"),
        Path(program: "ip6tables", server: "2001:db8:ffff::7", port: "123", translated: "2001:db8:0:100::11"),
    ]

    @Test func whatWasAcknowledgedIsStoredAndPacketsAreTranslatedThroughout() async throws {
        try await FleetLab.run { lab in
            var controller = try await lab.startController()
            let agents = [try await lab.startAgent("nat-a"), try await lab.startAgent("nat-c")]
            try await lab.exec(
                "controller", "bash", "-ec", "cat >/run/template.yaml", input: KillScripts.document("ATTEMPT"))
            try await lab.apply(KillScripts.document("0"))
            try await lab.converged("nat-a", "nat-c")
            let clients = try await lab.startTraffic(Self.paths)

            var generator = SeededGenerator(seed: Self.seed)
            var acknowledged = [1: 0]
            var attempt = 0
            var interrupted = 0
            for number in 1...Self.kills {
                let applies = try lab.applies(after: attempt)
                // However slow the machine is, some get through before it is the next one that is met.
                if number.isMultiple(of: 4) {
                    try await eventually(within: 25, "an apply gets through") {
                        applies.output.split(separator: "\n").contains { ApplyLine($0)?.revision != nil }
                    }
                }
                // Some applies are on their way when the program has started, the first after about 50 ms.
                try await Task.sleep(for: .milliseconds(Int.random(in: 0...300, using: &generator)))
                await controller.killProgram()
                try await eventually(within: 25, "the applies end") { !applies.isRunning }
                for line in applies.output.split(separator: "\n").compactMap(ApplyLine.init) {
                    attempt = line.attempt
                    if let revision = line.revision { acknowledged[revision] = attempt } else { interrupted += 1 }
                }
                controller = try await lab.startController()
                try await expectStored(acknowledged, lab, "kill \(number), seed \(Self.seed)")
            }
            #expect(interrupted * 10 >= Self.kills * 9, "only \(interrupted) kills met an apply")
            #expect(acknowledged.count > 10, "few applies got through: \(acknowledged)")

            try await lab.converged("nat-a", "nat-c", within: 70)
            let last = try #require(try await history(lab).first)
            let exception = try #require(last.document.spec.masquerade.first?.except.first)
            #expect(try await lab.shell("nat-a", "iptables -t nat -S").contains(" -d \(exception) "))
            for (path, client) in zip(Self.paths, clients) { try await expectTranslated(client, path, lab) }
            #expect(try await lab.leaks("nat-a") == "ipv4=0 ipv6=0")
            #expect(agents.allSatisfy(\.isRunning) && controller.isRunning)
        }
    }

    /// Each acknowledged revision has the content of its attempt, and each stored one the hash of its document.
    private func expectStored(_ acknowledged: [Int: Int], _ lab: FleetLab, _ comment: String) async throws {
        let stored = try await history(lab)
        #expect(stored.map(\.revision) == (1...stored.count).reversed(), "\(comment)")
        for revision in stored {
            #expect(revision.hash == revision.document.hash, "\(comment): revision \(revision.revision)")
        }
        let contents = Dictionary(uniqueKeysWithValues: stored.map { ($0.revision, $0.document.spec) })
        for (revision, attempt) in acknowledged {
            let found = contents[revision]?.masquerade.first?.except.map { "\($0)" }
            #expect(found == [KillScripts.exception("\(attempt)")], "\(comment): revision \(revision)")
        }
    }

    private func history(_ lab: FleetLab) async throws -> [RevisionView] {
        let result = try await lab.natfleet("rollout", "history", "egress", "-o", "json")
        #expect(result.succeeded, "\(result.errors)")
        return try WireJSON.decode(from: Data(result.output.utf8))
    }

    /// Every connection was answered to the address that the policy gives it, and not a packet got lost.
    private func expectTranslated(_ client: Daemon, _ path: Path, _ lab: FleetLab) async throws {
        await client.end()
        let lines = client.output.split(separator: "\n")
        #expect(lines.count > 100, "\(path.server): \(lines.count) connections")
        // The lab's server fails to answer one datagram in some hundreds; the counters below tell whose fault it is.
        let wrong = lines.filter {
            !$0.dropFirst(4).hasPrefix("internet saw \(path.translated) ") && $0 != "udp nobody"
        }
        #expect(wrong.isEmpty, "to \(path.server), of \(lines.count) connections")
        // The last of them may still be on their way.
        var (sent, arrived) = ("", "?")
        try await eventually(
            within: 15, "\(path.server): connections, datagrams there and back: \(sent) sent, \(arrived) arrived"
        ) {
            sent = try await lab.shell("client-a", KillScripts.counted(path.program, client: true))
            arrived = try await lab.shell("internet", KillScripts.counted(path.program, client: false))
            return sent == arrived
        }
        let counts = sent.split(separator: " ").compactMap { Int($0.filter(\.isNumber)) }
        #expect(counts.count == 3 && counts.allSatisfy { $0 > 50 }, "\(sent)")
    }
}

/// From client-a through nat-a to the internet, in one family.
private struct Path {
    let program: String
    let server: String
    let port: String
    let translated: String
}

extension FleetLab {
    fileprivate func startTraffic(_ paths: [Path]) async throws -> [Daemon] {
        let script = Self.root.appendingPathComponent("Tests/Lab/lib/ask.sh").path
        var clients: [Daemon] = []
        for path in paths {
            for (host, isClient) in [("client-a", true), ("internet", false)] {
                try await shell(
                    host,
                    KillScripts.count(
                        path.program, client: isClient, server: path.server, translated: path.translated))
            }
            clients.append(
                try daemon("client-a", ["bash", "-c", KillScripts.traffic, script, path.server, path.port]))
        }
        return clients
    }

    fileprivate func applies(after attempt: Int) throws -> Daemon {
        try daemon(
            "controller",
            [
                "env", "NATFLEET_CONFIG=\(Self.configuration)", "bash", "-c", KillScripts.applyLoop,
                Self.binaries + "/natfleet", "\(attempt)",
            ])
    }
}
