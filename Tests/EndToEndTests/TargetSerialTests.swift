// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: natfleet contributors

import FleetModel
import Foundation
import TestSupport
import Testing

/// What clients must be able to reach (`spec.probes`) decides over a trial where the change is to blame, and only there.
@Suite(.enabled("needs root and namespaces") { await FleetLab.isAvailable })
struct TargetSerialTests {
    private static let targets = [("198.51.100.7", 443), ("[2001:db8:ffff::7]", 443)]

    private static func egress(_ entry: String = "") -> String {
        let probes = targets.map { "\"tcp:\($0.0):\($0.1)\"" }.joined(separator: ", ")
        return Policies.egress(entry: entry + #"sources: [10.0.0.0/16, "2001:db8:0:100::/56"]"#)
            + "\n  probes: [\(probes)]\n---\n"
    }

    /// One family after the other, as `for` in a shell does.
    private static func both(_ command: String) -> String { "for p in iptables ip6tables; do $p \(command); done" }

    @Test func aTargetThatAnsweredHasToAnswerUnlessItIsDown() async throws {
        try await FleetLab.run { lab in
            let controller = try await lab.startController()
            try await lab.writeConfiguration(
                "nat-a", token: try await lab.joinToken("--instance", "nat-a", "--label", "vpc=demo"))
            let held = try HeldAgent("nat-a", lab)
            let agent = held.daemon
            try await lab.apply(Self.egress())
            try await lab.converged("nat-a")

            // Nobody asked since they went down.
            let refusal = "INPUT -p tcp --dport 443 -j REJECT --reject-with tcp-reset"
            try await lab.shell("internet", Self.both("-I \(refusal)"))
            try await lab.apply(Self.egress("except: [192.168.0.0/24], "))
            try await eventually(within: 20, "it runs: \(agent.output)") {
                let instance = try await lab.instance("nat-a")
                return instance?.lastOutcome?.hash == instance?.desiredHash && instance?.lastOutcome?.result == .applied
            }
            var codes: [String] = []
            try await eventually(within: 10, "it shows: \(codes)") {
                codes = try await lab.instance("nat-a")?.status?.conditions.map(\.code) ?? []
                return codes == ["target-unreachable", "target-unreachable"]
            }

            // They are back, and asked at once because of a rule above natfleet's. As the rules of a change have gone in,
            // something keeps their answers from clients, and nothing else.
            try await lab.shell("internet", Self.both("-D \(refusal)"))
            try await lab.shell("nat-a", Self.both("-I FORWARD -p 253 -j ACCEPT"))
            try await eventually(within: 45, "they are seen to be back: \(codes)") {
                codes = try await lab.instance("nat-a")?.status?.conditions.map(\.code) ?? []
                return codes.isEmpty
            }
            try await lab.shell("nat-a", Self.both("-D FORWARD -p 253 -j ACCEPT"))
            let before = try await lab.machine("nat-a")
            try await held.hold(at: "prove") {
                try await lab.apply(Self.egress("randomFully: false, "))
            } meanwhile: {
                try await lab.shell("nat-a", Self.both("-t mangle -A FORWARD -p tcp --sport 443 -j DROP"))
            }
            var last: Instance?
            try await eventually(within: 30, "it is taken back: \(String(describing: last)) \(agent.output)") {
                let instance = try await lab.instance("nat-a")
                last = instance
                return instance?.lastOutcome?.hash == instance?.desiredHash
                    && instance?.lastOutcome?.result == .reverted
            }
            try await lab.shell("nat-a", Self.both("-t mangle -F FORWARD"))
            expectSame(before, try await lab.machine("nat-a"))
            let reason = try await lab.instance("nat-a")?.lastOutcome?.detail ?? ""
            for (address, port) in Self.targets {
                #expect(reason.contains("to tcp:\(address):\(port): does not answer clients"), "\(reason)")
            }
            #expect(agent.isRunning && controller.isRunning)
        }
    }
}
