// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: natfleet contributors

import FleetModel
import Foundation
import TestSupport
import Testing

/// Bad changes that undo themselves.
@Suite(.enabled("needs root and namespaces") { await FleetLab.isAvailable })
struct TrialSerialTests {
    /// Shorter than the default, to keep the tests short.
    private static let limit = 10

    private static func egress(_ entry: String) -> String {
        Policies.egress(entry: entry) + "\n  rollout: {confirmTimeout: \(limit)s}\n---\n"
    }

    private static let good = #"sources: [10.0.0.0/16, "2001:db8:0:100::/56"]"#

    /// What blackholes clients only: the instance itself goes on reaching its controller.
    struct Blackhole: Sendable, CustomTestStringConvertible {
        var testDescription: String
        var instance = "nat-a"
        var client = "client-a"
        /// Shell on the instance, before the change.
        var fault = ""
        var entry: String

        static let all = [
            Blackhole(
                testDescription: "the networks of another VPC",
                entry: #"sources: [10.1.0.0/16, "2001:db8:1::/56"]"#),
            Blackhole(
                testDescription: "a foreign DROP before everything of natfleet's",
                fault: """
                    for program in iptables ip6tables; do
                        $program -t mangle -A FORWARD -m comment --comment foreign -j DROP
                    done
                    """,
                entry: #"randomFully: false, sources: [10.0.0.0/16, "2001:db8:0:100::/56"]"#),
            Blackhole(
                testDescription: "the inside interface", instance: "nat-c", client: "client-c",
                entry: #"interface: eth1, sources: [10.0.0.0/16, "2001:db8:0:100::/56"]"#),
        ]
    }

    /// Of somebody else's, above natfleet's jumps, which the trial puts first to see whether that helps.
    private static let others = """
        for program in iptables ip6tables; do
            $program -I FORWARD 1 -m comment --comment above
            $program -I FORWARD 2 -p 253 -j ACCEPT
            $program -t nat -I POSTROUTING 1 -p 253 -j RETURN
        done
        """

    /// Packets that were counted at somebody else's rule, IPv4 and IPv6.
    private func counted(_ lab: FleetLab, _ host: String) async throws -> [Int] {
        try await lab.shell(host, "for p in iptables ip6tables; do $p -nvxL FORWARD | awk 'NR == 3 {print $1}'; done")
            .split(separator: "\n").compactMap { Int($0) }
    }

    @Test(arguments: Blackhole.all, BackEnd.allCases)
    func whatBlackholesClientsIsTakenBack(hole: Blackhole, backEnd: BackEnd) async throws {
        try await FleetLab.run { lab in
            let instance = hole.instance
            try await lab.use(backEnd, on: instance)
            let controller = try await lab.startController()
            let agent = try await lab.startAgent(instance)
            try await lab.apply(Self.egress(Self.good))
            try await lab.converged(instance)
            if hole.fault.isEmpty { try await lab.shell(instance, Self.others) }
            // Somebody whom a policy could cut off.
            for address in ["198.51.100.7", "2001:db8:ffff::7"] {
                _ = try await lab.ask(hole.client, "tcp", address, 80)
            }
            if !hole.fault.isEmpty { try await lab.shell(instance, hole.fault) }
            let before = try await lab.everything(instance)
            let counters = try await counted(lab, instance)

            let start = ContinuousClock.now
            try await lab.apply(Self.egress(hole.entry))
            try await lab.reverted(instance, within: Double(Self.limit) + 20)
            #expect(ContinuousClock.now - start < .seconds(Self.limit + 15))
            expectSame(before, try await lab.everything(instance), hole.testDescription)
            let reason = try #require(try await lab.instance(instance)?.lastOutcome?.detail)
            #expect(reason.contains("clients"), "\(reason)")

            if hole.fault.isEmpty {
                let later = try await counted(lab, instance)
                #expect(counters.count == 2 && counters.allSatisfy { $0 > 0 } && zip(counters, later).allSatisfy(<=))
                for address in ["198.51.100.7", "2001:db8:ffff::7"] {
                    let answer = try await lab.ask(hole.client, "tcp", address, 80)
                    #expect(answer.hasPrefix("internet saw "), "\(address): \(answer)")
                }
            }
            #expect(try await lab.leaks(instance) == "ipv4=0 ipv6=0")
            // It is not tried again by itself, nor by an agent that starts anew.
            let tried = agent.output.ranges(of: "result=reverted").count
            await agent.end()
            let again = try lab.runAgent(instance)
            try await Task.sleep(for: .seconds(12))
            #expect(tried == 1 && !again.output.contains("reverted"), "\(agent.output)\(again.output)")
            expectSame(before, try await lab.everything(instance), hole.testDescription)
            #expect(controller.isRunning)
        }
    }

    /// The agent cannot see that somebody else's rule is gone: an operator says so.
    @Test func whatWasTakenBackIsTriedAgainWhenAnOperatorSaysSo() async throws {
        try await FleetLab.run { lab in
            let controller = try await lab.startController()
            let agent = try await lab.startAgent("nat-a")
            try await lab.apply(Self.egress(Self.good))
            try await lab.converged("nat-a")
            let nothing = try await lab.natfleet("instance", "retry", "nat-a")
            #expect(nothing.status == 4 && nothing.errors.contains("it runs what it should"), "\(nothing.errors)")

            func foreign(_ change: String) async throws {
                try await lab.shell(
                    "nat-a", "iptables -t mangle \(change) FORWARD -m comment --comment foreign -j DROP")
            }
            try await foreign("-A")
            try await lab.apply(Self.egress("randomFully: false, " + Self.good))
            try await lab.reverted("nat-a", within: Double(Self.limit) + 20)
            let facts = try await lab.instance("nat-a")?.status?.facts
            // Whoever is logged in sees it too.
            let shown = try await lab.exec("nat-a", FleetLab.binaries + "/natfleet-agent", "status").output
            #expect(shown.contains("critical trial-reverted: ") && shown.contains("instance retry"), "\(shown)")
            try await foreign("-D")
            // The agent looks at once when rules change. That is no reason to try again.
            try await Task.sleep(for: .seconds(3))
            try await lab.reverted("nat-a", within: 1)
            #expect(try await lab.instance("nat-a")?.status?.facts == facts)

            let confirmed = agent.output.ranges(of: "applied and confirmed").count
            let retry = try await lab.natfleet("instance", "retry", "-l", "vpc=demo")
            #expect(retry.succeeded && retry.output == "instance/nat-a tries again\n", "\(retry.errors)")
            try await lab.converged("nat-a", within: 10)
            #expect(try await lab.instance("nat-a")?.lastOutcome?.result == .applied)
            let well = try await lab.exec("nat-a", FleetLab.binaries + "/natfleet-agent", "status").output
            #expect(!well.contains("trial-reverted") && !well.contains("retry"), "\(well)")
            let events = try await lab.natfleet("events").output
            #expect(events.contains("instance.retried") && events.contains("operator:admin"), "\(events)")
            #expect(agent.output.ranges(of: "result=reverted").count == 1, "\(agent.output)")
            #expect(agent.output.ranges(of: "applied and confirmed").count == confirmed + 1, "\(agent.output)")
            #expect(agent.isRunning && controller.isRunning)
        }
    }

    /// What takes the controller out of reach, from a step of the trial on.
    struct Cut: Sendable, CustomTestStringConvertible {
        var testDescription: String
        var backEnd: BackEnd
        var step: String
        var packets: String

        var rule: String { "-d 10.0.0.5 -p tcp --dport 8443 \(packets) -m comment --comment cut -j DROP" }

        static let all =
            BackEnd.allCases.map {
                Cut(testDescription: "all packets, \($0)", backEnd: $0, step: "prove", packets: "")
            } + [
                // The connection that the agent has had all along would go on.
                Cut(testDescription: "new connections only", backEnd: .nft, step: "apply", packets: "--syn")
            ]
    }

    @Test(arguments: Cut.all)
    func aChangeAfterWhichTheControllerIsOutOfReachIsTakenBack(cut: Cut) async throws {
        try await FleetLab.run { lab in
            try await lab.use(cut.backEnd, on: "nat-a")
            let controller = try await lab.startController()
            let token = try await lab.joinToken("--instance", "nat-a", "--label", "vpc=demo")
            try await lab.writeConfiguration("nat-a", token: token)
            let held = try HeldAgent("nat-a", lab)
            let agent = held.daemon
            try await lab.apply(Self.egress(Self.good))
            try await lab.converged("nat-a")
            let before = try await lab.everything("nat-a")
            let rules = { try await lab.shell("nat-a", "iptables-save -t nat; ip6tables-save -t nat") }

            // As the rules go in, the instance is cut off from its controller.
            try await held.hold(at: cut.step) {
                try await lab.apply(Policies.portMapping("nat-a", subnet: 1).replacing("web-nat-a", with: "web"))
            } meanwhile: {
                #expect(try await rules().contains("natfleet:web") == (cut.step == "prove"))
                try await lab.shell("nat-a", "iptables -I OUTPUT \(cut.rule)")
            }
            let start = ContinuousClock.now
            try await eventually(within: 5, "the rules go in") { try await rules().contains("natfleet:web") }
            try await eventually(within: Double(Self.limit) + 20, "they are taken back: \(agent.output)") {
                try await !rules().contains("natfleet:web")
            }
            #expect(ContinuousClock.now - start < .seconds(Self.limit + 5))
            // The controller knows of nothing yet, and clients never noticed.
            #expect(try await lab.instance("nat-a")?.lastOutcome?.result != .reverted)
            for address in ["198.51.100.7", "2001:db8:ffff::7"] {
                let answer = try await lab.ask("client-a", "tcp", address, 80)
                #expect(answer.hasPrefix("internet saw "), "\(address): \(answer)")
            }

            try await lab.shell("nat-a", "iptables -D OUTPUT \(cut.rule)")
            try await lab.reverted("nat-a", within: 90)
            let reason = try #require(try await lab.instance("nat-a")?.lastOutcome?.detail)
            #expect(reason.contains("could not be reached"), "\(reason)")
            expectSame(before, try await lab.everything("nat-a"))
            #expect(try await lab.leaks("nat-a") == "ipv4=0 ipv6=0")
            #expect(agent.isRunning && controller.isRunning)
        }
    }
}

extension FleetLab {
    /// What `iptables-save` and `ip6tables-save` print, to the letter but for counters and dates, and the sysctls.
    fileprivate func everything(_ instance: String) async throws -> String {
        try await allRules(instance) + machine(instance)
    }

    /// Waits until an instance says that it took back what it was last asked for.
    fileprivate func reverted(_ id: String, within seconds: Double) async throws {
        var last: Instance?
        try await eventually(within: seconds, "\(id) reverts: \(String(describing: last))") {
            last = try await instance(id)
            return last?.lastOutcome?.hash == last?.desiredHash && last?.lastOutcome?.result == .reverted
        }
        let reverted = try #require(last)
        #expect(reverted.status?.phase == .reverted && reverted.health == .degraded)
        #expect(reverted.status?.conditions.map(\.code).contains("trial-reverted") == true)
        #expect(reverted.status?.runningHash != reverted.desiredHash)
        let described = try await natfleet("describe", "instance", id).output
        #expect(described.contains(reverted.lastOutcome?.detail ?? "?") && described.contains("fix: "), "\(described)")
    }
}
