// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: natfleet contributors

import FleetAPI
import FleetModel
import Foundation
import TestSupport
import Testing

/// Who gets a certificate, and what a machine that does not get one says and does.
@Suite(.enabled("needs root and namespaces") { await FleetLab.isAvailable })
struct EnrolmentSerialTests {
    private struct Refused {
        let name: String
        let token: String
        let reason: String
        let agent: Daemon
    }

    @Test func aTokenThatIsNoGoodIsRefusedWithOneLineWhileTheAgentKeepsTrying() async throws {
        try await FleetLab.run { lab in
            let controller = try await lab.startController()
            let used = try await lab.joinToken("--instance", "nat-b")
            try await lab.writeConfiguration("nat-b", token: used)
            let first = try lab.runAgent("nat-b")
            try await eventually(within: 20, "nat-b enrols") { try await lab.instance("nat-b")?.lastSeen != nil }
            let revoked = try await lab.createToken(["--instance", "nat-a"])
            #expect(try await lab.natfleet("token", "revoke", revoked.id).succeeded)
            let expired = try await lab.joinToken("--instance", "nat-a", "--ttl", "1s")
            try await Task.sleep(for: .seconds(1.2))

            try await lab.writeConfiguration("nat-a", token: nil)
            let events = try await lab.natfleet("get", "events", "-o", "json").output
            let refused = try [
                ("wrong", "nfj_0123456789abcdefghijklmnopqrstuvwxyzABCDEFG", "the join token is not known here"),
                ("used", used, "is used up"), ("expired", expired, "has expired"),
                ("revoked", try #require(revoked.secret), "was revoked"),
                ("empty", "", "no join token"),
            ].map { name, token, reason in
                Refused(
                    name: name, token: token, reason: reason, agent: try lab.agent("nat-a", state: name, token: token))
            }
            try await lab.countConnections()
            try await Task.sleep(for: .seconds(11))
            for try1 in refused {
                let lines = try1.agent.output.split(separator: "\n")
                #expect(lines.count == 1, "\(try1.name): \(try1.agent.output)")
                #expect(try1.agent.output.contains(try1.reason) && try1.agent.output.contains("natfleet token create"))
                #expect(try1.token.isEmpty || !try1.agent.output.contains(try1.token))
                #expect(try1.agent.isRunning)
            }
            // Five agents, two connections a try, waits of U(0, 2^k) seconds: neither silence nor a storm.
            let connections = try await lab.connections()
            #expect((10...150).contains(connections), "\(connections)")
            #expect(try await lab.natfleet("get", "events", "-o", "json").output == events)
            #expect(try await lab.instance("nat-a") == nil)
            for try1 in refused { await try1.agent.end() }

            // A good token, and the same state folder enrols.
            let good = try await lab.joinToken("--instance", "nat-a")
            let agent = try lab.agent("nat-a", state: "wrong", token: good)
            try await eventually(within: 20, "nat-a enrols: \(agent.output)") {
                try await lab.instance("nat-a")?.lastSeen != nil
            }
            #expect(first.isRunning && controller.isRunning)
        }
    }

    @Test func aWrongHashIsRefusedOnceAndTheRightOneEnrols() async throws {
        try await FleetLab.run { lab in
            let controller = try await lab.startController()
            let token = try await lab.createToken(["--instance", "nat-a"])
            let secret = try #require(token.secret)
            try await lab.writeConfiguration("nat-a", token: secret, caHash: String(repeating: "0f", count: 32))
            let agent = try lab.runAgent("nat-a")
            try await lab.countConnections()
            try await Task.sleep(for: .seconds(8))
            #expect(agent.output.contains("whose SHA-256 is not NATFLEET_CA_HASH"))
            #expect(agent.output.split(separator: "\n").count == 1, "\(agent.output)")
            #expect((1...40).contains(try await lab.connections()))
            #expect(try await lab.token(token.id)?.usesLeft == 1)
            await agent.end()
            try await lab.writeConfiguration("nat-a", token: secret)
            let corrected = try lab.runAgent("nat-a")
            try await eventually(within: 20, "nat-a enrols: \(corrected.output)") {
                try await lab.instance("nat-a")?.lastSeen != nil
            }
            #expect(controller.isRunning)
        }
    }

    @Test func aLostAnswerIsGivenAgainToTheSameKeyOnly() async throws {
        try await FleetLab.run { lab in
            let controller = try await lab.startController()
            // A token for any machine: the instance may enrol once, so the second answer is the lost one again.
            let token = try await lab.joinToken("--label", "vpc=demo")
            try await lab.writeConfiguration("nat-a", token: token, more: "NATFLEET_INSTANCE_ID=front")
            let first = try lab.runAgent("nat-a")
            try await eventually(within: 20, "enrols: \(first.output)") {
                try await lab.instance("ext-front")?.lastSeen != nil
            }
            await first.end(SIGKILL)

            // As if it had been killed between its request and the answer: its key is on disk, no identity.
            let state = "/var/lib/natfleet-agent"
            try await lab.shell(
                "nat-a",
                "cd \(state); (umask 077; jq -r .key identity.json >enrolment-key.pem); mv identity.json /run/lab/first"
            )
            let again = try lab.runAgent("nat-a")
            try await eventually(within: 20, "enrols again: \(again.output)") {
                try await lab.shell("nat-a", "jq -r .instanceID \(state)/identity.json 2>/dev/null ||:")
                    == "ext-front\n"
            }
            try await lab.apply(Policies.egress)
            try await lab.converged("ext-front")
            #expect(try await lab.instances().map(\.id) == ["ext-front"])
            await again.end()

            // The certificate before has ended; another key gets nothing for the same token.
            try await lab.shell("nat-a", "cp /run/lab/first \(state)/identity.json")
            let old = try lab.runAgent("nat-a")
            try await eventually(within: 20, "the first certificate is refused: \(old.output)") {
                old.output.contains("code=unauthorized")
            }
            await old.end()
            try await lab.shell("nat-a", "rm \(state)/identity.json")
            let other = try lab.runAgent("nat-a")
            try await eventually(within: 20, "another key is refused: \(other.output)") {
                other.output.contains("is used up")
            }
            #expect(controller.isRunning)
        }
    }
}

extension FleetLab {
    func token(_ id: String) async throws -> TokenView? {
        let list = try await natfleet("token", "list", "-o", "json").output
        return try WireJSON.decode([TokenView].self, from: Data(list.utf8)).first { $0.id == id }
    }

    /// One of several agents of an instance, with a state folder and a token of its own.
    func agent(_ instance: String, state: String, token: String) throws -> Daemon {
        try daemon(
            instance,
            [
                "env", "NATFLEET_STATE_DIR=/var/lib/natfleet-\(state)", "NATFLEET_JOIN_TOKEN=\(token)",
                Self.binaries + "/natfleet-agent", "run",
            ])
    }

    /// Starts to count the connections that agents open to the controller.
    func countConnections() async throws {
        try await shell("controller", "iptables -I INPUT -p tcp --dport 8443 --syn ! -s 10.0.0.5")
    }

    func connections() async throws -> Int {
        let counted = try await shell("controller", "iptables -nvxL INPUT | awk 'NR == 3 { print $1 }'")
        return try #require(Int(counted.trimmingCharacters(in: .whitespacesAndNewlines)))
    }
}
