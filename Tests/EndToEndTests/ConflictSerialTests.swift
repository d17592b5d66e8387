// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: natfleet contributors

import FleetModel
import TestSupport
import Testing

/// Layers that claim the same thing on one instance.
@Suite(.enabled("needs root and namespaces") { await FleetLab.isAvailable })
struct ConflictSerialTests {
    /// A port forward of another policy, for the instances of a label or for one by name.
    private static func rival(_ selector: String, port: String = "8001", more: String = "") -> String {
        """
        apiVersion: natfleet/v1
        kind: NATPolicy
        metadata: {name: rival}
        spec:
          selector: \(selector)
          forwarding: {ipv4: true, ipv6: true}
          \(more)
          dnat:
            - {name: theirs, protocol: tcp, port: "\(port)", to: "10.0.1.80:9000"}
        """
    }

    @Test func aConflictIsRefusedAndNothingChanges() async throws {
        try await FleetLab.run { lab in
            let controller = try await lab.startController()
            let agent = try await lab.startAgent("nat-a")
            let web = Policies.portMapping("nat-a", subnet: 1)
            try await lab.apply(Policies.egress + "\n" + web)
            try await lab.converged("nat-a")
            let rules = try await lab.allRules("nat-a")
            let policies = try await lab.natfleet("get", "policies", "-o", "json").output
            let history = try await lab.natfleet("rollout", "history", "web-nat-a", "-o", "json").output

            for rival in [
                Self.rival("{instances: [nat-a]}"), Self.rival("{matchLabels: {vpc: demo}}", port: "7990-8009"),
                // A good document beside it is not stored either.
                Policies.portMapping("nat-a", subnet: 1, port: 9001) + "---\n" + Self.rival("{instances: [nat-a]}"),
            ] {
                let refused = try await lab.natfleet("apply", "-f", "-", input: rival)
                #expect(refused.status == 4, "\(refused)")
                for name in ["web-nat-a", "rival", "nat-a", "8001"] {
                    #expect(refused.errors.contains(name), "\(name): \(refused.errors)")
                }
                #expect(refused.output == "")
            }
            let guards = try await lab.natfleet(
                "apply", "-f", "-",
                input: web.replacing("forwarding:", with: "guard: true\n  forwarding:") + "---\n"
                    + Self.rival("{instances: [nat-a]}", port: "8002", more: "guard: false"))
            #expect(guards.status == 4 && guards.errors.contains("guard"), "\(guards)")

            #expect(try await lab.natfleet("get", "policies", "-o", "json").output == policies)
            #expect(try await lab.natfleet("rollout", "history", "web-nat-a", "-o", "json").output == history)
            #expect(try await lab.natfleet("rollout", "history", "rival").status == 3)
            expectSame(rules, try await lab.allRules("nat-a"))
            try await lab.converged("nat-a")

            // Another port is no conflict.
            try await lab.apply(Self.rival("{instances: [nat-a]}", port: "8002"))
            try await lab.converged("nat-a")
            #expect(try await lab.ask("outsider", "tcp", "203.0.113.11", 8002).hasSuffix("tcp/9000"))
            #expect(agent.isRunning && controller.isRunning)
        }
    }

    @Test func anInstanceThatComesIntoAConflictShowsItAndKeepsWhatItHas() async throws {
        try await FleetLab.run { lab in
            let controller = try await lab.startController()
            let web = Policies.portMapping("nat-a", subnet: 1)
            try await lab.apply(
                Policies.egress + "\n" + web.replacing("{instances: [nat-a]}", with: "{matchLabels: {role: web}}"))
            try await lab.apply(Self.rival("{matchLabels: {role2: edge}}"))
            let token = try await lab.joinToken(
                "--instance", "nat-a", "--label", "vpc=demo", "--label", "role=web", "--label", "role2=edge")
            try await lab.writeConfiguration("nat-a", token: token)
            let rules = try await lab.allRules("nat-a")
            let agent = try lab.runAgent("nat-a")
            try await eventually(within: 20, "the conflict shows: \(agent.output)") {
                try await lab.instance("nat-a")?.status?.conditions.map(\.code) == ["layers-conflict"]
            }
            let shown = try await lab.natfleet("describe", "instance", "nat-a").output
            #expect(shown.contains("web-nat-a") && shown.contains("rival") && shown.contains("fix: "), "\(shown)")
            #expect(try await lab.instance("nat-a")?.health == .degraded)
            expectSame(rules, try await lab.allRules("nat-a"))
            #expect(agent.output.matches(of: /policy 'rival'/).count <= 2, "\(agent.output)")

            try await lab.apply(Self.rival("{matchLabels: {role2: edge}}", port: "8002"))
            try await lab.converged("nat-a")
            #expect(try await lab.ask("outsider", "tcp", "203.0.113.11", 8001).hasSuffix("tcp/80"))
            #expect(try await lab.ask("outsider", "tcp", "203.0.113.11", 8002).hasSuffix("tcp/9000"))
            #expect(controller.isRunning)
        }
    }
}
