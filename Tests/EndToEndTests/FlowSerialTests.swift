// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: natfleet contributors

import FleetModel
import Foundation
import TestSupport
import Testing

/// Connections of before a change, in both families: those end whose own entry changed, and no other.
@Suite(.enabled("needs root and namespaces") { await FleetLab.isAvailable })
struct FlowSerialTests {
    /// What a policy forwards; nil for nothing.
    private struct Forwards {
        var web: Int? = 80
        var dns: Int? = 53
        /// Its connections may finish.
        var slow: Int? = 9000
        var tried: Int?

        var document: String {
            let entries = [
                ("web", "tcp", 8001, web), ("dns", "udp", 8053, dns), ("slow", "tcp", 8002, slow),
                ("tried", "tcp", 8003, tried),
            ]
            let lines = entries.flatMap { name, kind, port, target in
                ["10.0.1.80", "[2001:db8:0:101::80]"].compactMap { address in
                    target.map { target in
                        "    - {name: \(name), protocol: \(kind), port: \(port), to: \"\(address):\(target)\""
                            + (name == "slow" ? ", drain: true}" : "}")
                    }
                }
            }
            return Policies.egress + (lines.isEmpty ? "" : "\n  dnat:\n" + lines.joined(separator: "\n")) + "\n---\n"
        }
    }

    private static let own = ["203.0.113.11", "2001:db8:0:100::11"]
    private static let outside = ["198.51.100.7", "2001:db8:ffff::7"]

    private static func through(_ lab: FleetLab, _ kind: String, _ port: Int) throws -> [KeptConnection] {
        try own.map { try KeptConnection(lab, "outsider", kind, $0, port) }
    }

    @Test func onlyWhatChangedEnds() async throws {
        try await FleetLab.run { lab in
            let controller = try await lab.startController()
            var agent = try await lab.startAgent("nat-a")
            let serving = try await runProgram(FleetLab.script, ["serve", lab.name, "server-a", "udp", "54"])
            #expect(serving.succeeded, "\(serving.errors)")
            try await lab.apply(Forwards().document)
            try await lab.converged("nat-a")
            let clients = try Self.outside.flatMap {
                [
                    try KeptConnection(lab, "client-a", "tcp", $0, 80),
                    try KeptConnection(lab, "client-a", "udp", $0, 53),
                ]
            }
            let slow = try Self.through(lab, "tcp", 8002)
            var forwarded = try Self.through(lab, "tcp", 8001) + Self.through(lab, "udp", 8053)
            try await (clients + slow + forwarded).expectOpen()

            // A plain restart.
            await agent.end()
            agent = try lab.runAgent("nat-a")
            try await eventually(within: 20, "looks: \(agent.output)") { try await lab.look("nat-a") }
            try await (clients + slow + forwarded).expectOpen()

            // A trial that is taken back: what came through it ends with it, and nothing that it would have ended.
            func dies(before step: String, _ forwards: Forwards) async throws {
                await agent.end()
                let program = FleetLab.binaries + "/natfleet-agent"
                let mortal = try lab.daemon("nat-a", ["env", "NATFLEET_FAULT_POINT=\(step)", program, "run"])
                try await lab.apply(forwards.document)
                try await eventually(within: 30, "dies before \(step): \(mortal.output)") { !mortal.isRunning }
            }
            try await dies(before: "persist", Forwards(web: 9002, dns: 54, tried: 9001))
            let tried = try Self.through(lab, "tcp", 8003)
            try await tried.expectOpen()
            agent = try lab.runAgent("nat-a")
            try await tried.expectEnd()
            try await (clients + slow + forwarded).expectOpen()

            // Targets change, and a forward that may finish goes. That is on disk when the agent dies.
            try await dies(before: "forget", Forwards(web: 9002, dns: 54, slow: nil))
            try await forwarded.expectOpen()
            agent = try lab.runAgent("nat-a")
            try await lab.converged("nat-a")
            try await forwarded.expectEnd()
            forwarded = try Self.through(lab, "tcp", 8001) + Self.through(lab, "udp", 8053)
            try await (clients + slow + forwarded).expectOpen()
            for address in Self.own { #expect(try await lab.ask("outsider", "tcp", address, 8002, seconds: 1) == "") }

            // Others go at once.
            try await lab.apply(Forwards(web: nil, dns: nil, slow: nil).document)
            try await lab.converged("nat-a")
            try await forwarded.expectEnd()
            try await (clients + slow).expectOpen()

            try await expectTranslatedOnceJumpsAreFirst(lab, agent)
            try await (clients + slow).expectOpen()
            #expect(agent.isRunning && controller.isRunning)
        }
    }

    /// What began while somebody's rule stood above natfleet's jump goes on untranslated, unless it ends.
    private func expectTranslatedOnceJumpsAreFirst(_ lab: FleetLab, _ agent: Daemon) async throws {
        let pid = agent.program
        kill(pid, SIGSTOP)
        try await lab.shell("nat-a", "ip6tables -t nat -I POSTROUTING 1 -p udp -j ACCEPT")
        let flow = try KeptConnection(lab, "client-a", "udp", Self.outside[1], 123)
        try await [flow].expectOpen()
        kill(pid, SIGCONT)
        try await [flow].expectEnd()
        let said = flow.daemon.output
        #expect(said.contains("was 2001:db8:0:101::10 ") && said.contains("is 2001:db8:0:100::11 "), "\(said)")
    }
}

extension FleetLab {
    /// An agent that starts looks at everything within seconds, and only then at connections.
    fileprivate func look(_ id: String) async throws -> Bool {
        try await Task.sleep(for: .seconds(2))
        return try await instance(id)?.health == .healthy
    }
}
