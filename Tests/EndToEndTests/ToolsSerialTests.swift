// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: natfleet contributors

import FleetModel
import Foundation
import TestSupport
import Testing

/// `natfleet-agent status`, `doctor` and `uninstall` on a real kernel.
@Suite(.enabled("needs root and namespaces") { await FleetLab.isAvailable })
struct ToolsSerialTests {
    /// Something that a person or another program does to an instance without an agent, and what doctor makes of it.
    struct Mishap: Sendable {
        let command: String
        let undo: String
        /// Checks that are bad then, as NAME or FAMILY/NAME, besides the probe's.
        let bad: Set<String>
        /// What `status` says then.
        let state: String
    }

    private static func mishaps(_ backEnd: BackEnd) -> [Mishap] {
        [
            Mishap(
                command: "sysctl -qw net.ipv4.ip_forward=0", undo: "sysctl -qw net.ipv4.ip_forward=1",
                bad: ["ipv4/forwarding"], state: "differs"),
            Mishap(
                command: "ip route del default", undo: "ip route add default via 10.0.0.1",
                bad: ["ipv4/default-route", "host"], state: "applied"),
            Mishap(
                command: "ip6tables -t nat -D POSTROUTING 1", undo: "ip6tables -t nat -I POSTROUTING -j NATFLEET-POST",
                bad: ["ipv6/rules"], state: "differs"),
            Mishap(
                command: "iptables-\(backEnd.other.rawValue) -t nat -A POSTROUTING -j ACCEPT",
                undo: "iptables-\(backEnd.other.rawValue) -t nat -F", bad: ["back-ends"], state: "applied"),
        ]
    }

    @Test(arguments: BackEnd.allCases)
    func doctorFindsWhatIsWrongAndChangesNothing(backEnd: BackEnd) async throws {
        try await FleetLab.run { lab in
            try await lab.use(backEnd, on: "nat-a")
            let untouched = try await lab.allRules("nat-a")
            #expect(try await lab.status().state == "idle")
            try await lab.expectDoctor(bad: ["configuration"])
            #expect(try await lab.allRules("nat-a") == untouched, "no table comes into being")

            let controller = try await lab.startController()
            let agent = try await lab.startAgent("nat-a")
            try await lab.apply(Policies.egress)
            try await lab.converged("nat-a")
            _ = try await lab.ask("client-a", "tcp", "198.51.100.7", 80)
            let running = try await lab.status()
            #expect(running.state == "applied" && running.agentRuns == true && running.instance == "nat-a")
            #expect(running.layers == [.init(policy: "egress", revision: 1)] && running.confirmedAt != nil)
            let healthy = try await lab.expectDoctor(bad: [])
            #expect(healthy.contains("1 with translated connections now"), "\(healthy)")

            await agent.end()
            let ended = try await lab.status()
            #expect(ended.agentRuns == false && ended.conditions == nil)
            // And that is no reason to be degraded.
            #expect(running.conditions?.map(\.code) == ["not-restored-at-boot"])
            let rules = try await lab.allRules("nat-a")
            let alone = try await lab.expectDoctor(bad: [])
            #expect(alone.contains("2 of 2 ways"), "\(alone)")
            expectSame(rules, try await lab.allRules("nat-a"))
            #expect(try await lab.shell("nat-a", "ip -br link").contains("natfleet-probe") == false)

            for mishap in Self.mishaps(backEnd) {
                try await lab.shell("nat-a", mishap.command)
                try await lab.expectDoctor("--no-probe", bad: mishap.bad)
                #expect(try await lab.status().state == mishap.state, "\(mishap.command)")
                try await lab.shell("nat-a", mishap.undo)
            }
            await controller.end()
            try await lab.expectDoctor(bad: ["controller"])
        }
    }

    private static let sysctls =
        "sysctl -a 2>/dev/null | grep -E '^net.ipv[46].(ip_forward|conf)|^net.netfilter.nf_conntrack_(max|buckets)'"

    @Test(arguments: BackEnd.allCases)
    func uninstallLeavesTheMachineAsItWas(backEnd: BackEnd) async throws {
        try await FleetLab.run { lab in
            try await lab.use(backEnd, on: "nat-a")
            try await lab.exec("nat-a", "iptables-restore", input: ForeignRules.docker4)
            try await lab.exec("nat-a", "ip6tables-restore", input: ForeignRules.docker6)
            let rules = try await lab.allRules("nat-a")
            let sysctls = try await lab.shell("nat-a", Self.sysctls)
            let controller = try await lab.startController()
            let agent = try await lab.startAgent("nat-a")
            try await lab.apply(Policies.egress + "\n" + Policies.portMapping("nat-a", subnet: 1))
            try await lab.converged("nat-a")
            let pinging = try lab.daemon("client-a", ["ping", "-q", "-i", "0.02", "198.51.100.7"])

            let refused = try await lab.agent("uninstall", "--yes")
            #expect(refused.status == 2 && refused.errors.contains("systemctl stop natfleet-agent"), "\(refused)")
            await agent.end()
            let unasked = try await lab.agent("uninstall")
            #expect(unasked.status == 2 && unasked.errors.contains("--yes"), "\(unasked)")
            #expect(try await lab.ask("client-a", "tcp", "198.51.100.7", 80).hasPrefix("internet saw 203.0.113.11"))

            let done = try await lab.agent("uninstall", "--yes")
            #expect(done.succeeded && done.output.contains("net.ipv4.ip_forward is 0 again"), "\(done)")
            await pinging.end(SIGINT)
            expectSame(rules, try await lab.allRules("nat-a"))
            expectSame(sysctls, try await lab.shell("nat-a", Self.sysctls))
            let files =
                "ls -d /{var/lib,run}/natfleet-agent /etc/sysctl.d/90-natfleet.conf /etc/modules-load.d/natfleet.conf"
            #expect(try await lab.exec("nat-a", "bash", "-c", files).output == "")
            #expect(try await lab.leaks("nat-a") == "ipv4=0 ipv6=0")

            let again = try await lab.agent("uninstall", "--yes")
            #expect(again.succeeded && again.output.hasPrefix("nothing of natfleet was there"), "\(again)")
            #expect(controller.isRunning)
        }
    }

    @Test func translationGoesOnWithoutNatfleet() async throws {
        try await FleetLab.run { lab in
            let controller = try await lab.startController()
            let agent = try await lab.startAgent("nat-a")
            try await lab.apply(Policies.egress)
            try await lab.converged("nat-a")
            await agent.end()
            let rules = try await lab.allRules("nat-a")
            let sysctls = try await lab.shell("nat-a", Self.sysctls)
            let done = try await lab.agent("uninstall", "--yes", "--keep-nat", "--keep-identity")
            #expect(done.succeeded && done.output.contains("nothing loads these rules at boot"), "\(done)")
            expectSame(rules, try await lab.allRules("nat-a"))
            expectSame(sysctls, try await lab.shell("nat-a", Self.sysctls))
            for (address, own) in [("198.51.100.7", "203.0.113.11"), ("2001:db8:ffff::7", "2001:db8:0:100::11")] {
                #expect(try await lab.ask("client-a", "tcp", address, 80).hasPrefix("internet saw \(own) "))
            }
            #expect(try await lab.shell("nat-a", "ls /var/lib/natfleet-agent") == "identity.json\nlock\n")

            // The same instance again, without a token: it takes over the rules that it finds.
            try await lab.writeConfiguration("nat-a", token: nil)
            let next = try lab.runAgent("nat-a")
            try await eventually(within: 20, "the agent is back: \(next.output)") {
                try await lab.status().state == "applied"
            }
            #expect(controller.isRunning && next.isRunning)
        }
    }
}

/// What a script reads of `status -o json`.
private struct StatusView: Decodable {
    struct Layer: Decodable, Equatable {
        var policy: String
        var revision: Int
    }

    var state: String
    var agentRuns: Bool?
    var instance: String?
    var confirmedAt: String?
    var layers: [Layer]
    var conditions: [Condition]?
}

private struct DoctorView: Decodable {
    struct Check: Decodable {
        var name: String
        var family: String?
        var verdict: String
        var message: String
        var remedy: String?
    }

    var verdict: String
    var checks: [Check]
}

extension FleetLab {
    fileprivate func agent(_ arguments: String...) async throws -> ProgramResult {
        try await runProgram(Self.script, ["exec", name, "nat-a", "--", Self.binaries + "/natfleet-agent"] + arguments)
    }

    fileprivate func status() async throws -> StatusView {
        try JSONDecoder().decode(StatusView.self, from: Data(try await agent("status", "-o", "json").output.utf8))
    }

    /// Exactly these checks are bad, and the exit status says so; returns all messages.
    @discardableResult
    fileprivate func expectDoctor(
        _ option: String = "--probe", bad: Set<String>, sourceLocation: SourceLocation = #_sourceLocation
    ) async throws -> String {
        let result = try await agent("doctor", option, "-o", "json")
        let report = try JSONDecoder().decode(DoctorView.self, from: Data(result.output.utf8))
        let wrong = report.checks.filter { $0.verdict == "bad" }
        let names = wrong.map { ($0.family.map { "\($0)/" } ?? "") + $0.name }
        #expect(Set(names) == bad, "\(wrong)", sourceLocation: sourceLocation)
        #expect(wrong.allSatisfy { $0.remedy != nil }, sourceLocation: sourceLocation)
        #expect(result.status == (bad.isEmpty ? 0 : 1), "\(result.errors)", sourceLocation: sourceLocation)
        return report.checks.map(\.message).joined(separator: "\n")
    }
}
