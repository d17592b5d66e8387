// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: natfleet contributors

import FleetAPI
import FleetModel
import Foundation
import NATPolicy
import TestSupport
import Testing

/// The controller's data folder is lost, and a backup of it takes its place.
@Suite(.enabled("needs root and namespaces") { await FleetLab.isAvailable })
struct RestoreSerialTests {
    /// One policy after the other, each for an instance that never comes.
    private static let writes = """
        number=0
        while :; do
            ((++number))
            sed "s/NUMBER/$((number % 250))/" /run/template.yaml | "$0" apply -f - || exit
        done
        """
    private static let template = """
        apiVersion: natfleet/v1
        kind: NATPolicy
        metadata: {name: elsewhere}
        spec:
          selector: {instances: [elsewhere]}
          forwarding: {ipv4: true}
          masquerade: [{name: egress, sources: [10.NUMBER.0.0/16]}]

        """

    @Test func aRunningAgentDoesNotNoticeThatItsControllerWasRestored() async throws {
        try await FleetLab.run { lab in
            try await lab.traceRestores(on: "nat-a")
            let controller = try await lab.startController()
            let agent = try await lab.startAgent("nat-a")
            try await lab.apply(Policies.egress + "\n" + Policies.portMapping("nat-a", subnet: 1))
            try await lab.converged("nat-a")
            let rules = try await lab.ownRules("nat-a")
            let identity = try await lab.identity("nat-a")
            _ = try await lab.tracedRestores(on: "nat-a")

            let (stored, last) = try await backUpUnderWrites(lab)
            await controller.end()
            // The operator's configuration is all that stays of the old folder.
            try await lab.shell(
                "controller",
                """
                cp -a /var/lib/backup /var/lib/restored
                cd \(FleetLab.data); find . ! -name admin.yaml -delete 2>/dev/null ||:; ls -A
                """)
            // Times on the wire are whole seconds.
            let start = Date(timeIntervalSince1970: Date().timeIntervalSince1970.rounded(.down))
            let second = try await lab.startController(data: "/var/lib/restored")
            try await eventually(within: 30, "nat-a checks in again: \(agent.output)") {
                try await lab.instance("nat-a")?.lastSeen.map { $0 >= start } ?? false
            }
            try await lab.converged("nat-a")
            let revisions = try await history(lab)
            #expect(revisions.map(\.revision) == (1...revisions.count).reversed())
            #expect((stored...last).contains(revisions.count), "\(stored) \(revisions.count) \(last)")
            for revision in revisions { #expect(revision.hash == revision.document.hash) }

            #expect(try await lab.identity("nat-a") == identity)
            expectSame(rules, try await lab.ownRules("nat-a"))
            #expect(try await lab.tracedRestores(on: "nat-a").filter(\.isReal).map(\.input) == [])
            let events = try await lab.natfleet("get", "events", "-o", "json").output
            #expect(events.ranges(of: "instance.enrolled").count == 1 && !events.contains("readmitted"), "\(events)")
            #expect(try await lab.ask("client-a", "tcp", "198.51.100.7", 80).hasPrefix("internet saw 203.0.113.11"))

            // And it does what the restored one says.
            try await lab.apply(Policies.portMapping("nat-a", subnet: 1, port: 9000))
            try await lab.converged("nat-a")
            #expect(try await lab.ask("outsider", "tcp", "203.0.113.11", 8001).hasSuffix("tcp/9000"))
            #expect(agent.isRunning && second.isRunning)
            #expect(agent.output.ranges(of: "enrolled").count == 1, "\(agent.output)")
        }
    }

    /// - Returns: how many revisions there were at least when the backup began, and at most when it ended.
    private func backUpUnderWrites(_ lab: FleetLab) async throws -> (Int, Int) {
        try await lab.exec("controller", "bash", "-ec", "cat >/run/template.yaml", input: Self.template)
        let writer = try lab.daemon(
            "controller",
            [
                "env", "NATFLEET_CONFIG=\(FleetLab.configuration)", "bash", "-c", Self.writes,
                FleetLab.binaries + "/natfleet",
            ])
        try await eventually(within: 20, "policies are written: \(writer.output)") {
            try await history(lab).count > 5
        }
        let before = try await history(lab).count
        let backup = try await lab.natfleet("backup", "--data", FleetLab.data, "--to", "/var/lib/backup")
        #expect(backup.succeeded, "\(backup.errors)")
        let after = try await history(lab).count
        try await eventually(within: 20, "writing goes on: \(writer.output)") {
            try await history(lab).count > after
        }
        await writer.end()
        return (before, after)
    }

    private func history(_ lab: FleetLab) async throws -> [RevisionView] {
        let result = try await lab.natfleet("rollout", "history", "elsewhere", "-o", "json")
        guard result.succeeded else { return [] }
        return try WireJSON.decode(from: Data(result.output.utf8))
    }
}

extension FleetLab {
    /// Who the agent is: key, certificate, and what it trusts.
    fileprivate func identity(_ instance: String) async throws -> String {
        try await shell(instance, "sha256sum /var/lib/natfleet-agent/identity.json")
    }
}
