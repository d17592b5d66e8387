// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: natfleet contributors

import FleetModel
import NATPolicy
import NetAddress
import Synchronization
import TestSupport
import Testing

@testable import AgentCore

/// Others' rules above natfleet's jumps: left alone, until clients cannot get out.
struct JumpPlaceTests {
    private let host: FakeHost
    private let probe: FakeProbe
    private let agent: Reconciler

    init() throws {
        host = try FakeHost()
        probe = FakeProbe(kernel: host.kernel)
        agent = host.start(probe: probe)
    }

    private func put(_ rule: String, above table: String, _ chain: String, _ family: IPFamily = .ipv4) throws {
        try host.change { try $0.tables[family]?.restore("*\(table)\n-I \(chain) 1 \(rule)\nCOMMIT\n") }
    }

    @Test func rulesAboveThatHurtNobodyStayAboveAndTheProbeIsAskedAtOnce() async throws {
        _ = await agent.apply(try FakeHost.desired())
        try put("-j LOG", above: "filter", "FORWARD")
        let state = host.state
        let asked = probe.count
        for _ in 0..<3 { #expect(await agent.reconcile(.rules).status.conditions.isEmpty) }
        #expect(probe.count == asked + 1, "once for what is new")
        #expect(host.state == state)
    }

    @Test(arguments: IPFamily.allCases)
    func jumpsOfTheFamilyGoBackBeforeWhatKeepsClientsOut(family: IPFamily) async throws {
        _ = await agent.apply(try FakeHost.desired())
        for other in IPFamily.allCases { try put("-j LOG", above: "nat", "POSTROUTING", other) }
        try put("-j DROP", above: "filter", "FORWARD", family)
        let (rules, other) = (host.rules(family), host.rules(family == .ipv4 ? .ipv6 : .ipv4))
        let report = await agent.reconcile(.rules)
        #expect(report.status.conditions.map(\.code) == ["drift-repaired"])
        let said = try #require(report.status.drift?.lastDifference)
        #expect(said.contains("\(family.label): filter: FORWARD has 1 other rule before it enters NATFLEET-FWD"))
        #expect(said.contains("the fake drops them"), "\(said)")
        let moved = rules.replacing(
            "-A FORWARD -j DROP\n-A FORWARD -j NATFLEET-FWD", with: "-A FORWARD -j NATFLEET-FWD\n-A FORWARD -j DROP"
        ).replacing(
            "-A POSTROUTING -j LOG\n-A POSTROUTING -j NATFLEET-POST",
            with: "-A POSTROUTING -j NATFLEET-POST\n-A POSTROUTING -j LOG")
        #expect(moved != rules && host.rules(family) == moved)
        #expect(host.rules(family == .ipv4 ? .ipv6 : .ipv4) == other)
        #expect(report.status.drift?.repairs == 1)
    }

    @Test func aFightOverTheFirstPlaceIsNamedAndPaced() async throws {
        _ = await agent.apply(try FakeHost.desired())
        var report = WorkReport(status: await agent.firstStatus)
        for round in 1...3 {
            try put("-j DROP", above: "filter", "FORWARD")
            host.clock.advance(1)
            report = await agent.reconcile(.rules)
            #expect(report.look.isContended == (round == 3))
        }
        #expect(report.status.conditions.map(\.code) == ["contended"])
        #expect(report.status.conditions.first?.message.contains("FORWARD") == true)
        try put("-j DROP", above: "filter", "FORWARD")
        let state = host.state
        host.clock.advance(20)
        _ = await agent.reconcile(.rules)
        #expect(host.state == state, "not before 30 s have passed")
        host.clock.advance(10)
        #expect(await agent.reconcile(.rules).status.drift?.repairs == 4)
    }

    @Test func whatTheFirstPlaceDoesNotHelpAgainstIsNotRepairedAgain() async throws {
        _ = await agent.apply(try FakeHost.desired())
        try put("-j LOG", above: "filter", "FORWARD")
        probe.isBroken.withLock { $0 = true }
        var report = await agent.reconcile(.rules)
        _ = host.touched()
        for _ in 0..<3 {
            host.clock.advance(31)
            report = await agent.reconcile(.rules)
        }
        #expect(report.status.drift?.repairs == 1 && host.touched().isEmpty)
        #expect(report.status.conditions.map(\.code) == ["probe-failed", "probe-failed", "drift-repaired"])
    }

    @Test func theProbeAsksEachHalfMinute() async throws {
        _ = await agent.apply(try FakeHost.desired())
        for round in 1...3 {
            let count = probe.count
            host.clock.advance(29)
            _ = await agent.reconcile(.glance)
            #expect(probe.count == count, "round \(round)")
            host.clock.advance(1)
            _ = await agent.reconcile(.glance)
            #expect(probe.count == count + 1, "round \(round)")
        }
    }

    @Test func aTrialIsNotRevertedForARuleThatCameAboveTheJump() async throws {
        _ = await agent.apply(try FakeHost.desired())
        try put("-j DROP", above: "filter", "FORWARD", .ipv6)
        let report = await agent.apply(try FakeHost.desired(to: "10.0.1.81:80"))
        #expect(report.outcome?.result == .applied, "\(report.outcome?.detail ?? "")")
        #expect(report.status.drift?.repairs == 1)
        // The connection that was opened before it proves nothing.
        #expect(report.hasMovedRules)
        #expect(await !agent.apply(try FakeHost.desired(to: "10.0.1.82:80")).hasMovedRules)
    }
}

/// Clients get out unless a DROP stands above natfleet's jump in FORWARD.
private final class FakeProbe: DataPathProbe {
    let kernel: FakeKernel
    /// Something else keeps them in, in both families.
    let isBroken = Mutex(false)
    private let runs = Mutex(0)

    init(kernel: FakeKernel) { self.kernel = kernel }

    var count: Int { runs.withLock { $0 } }

    func prepare(_ plan: ProbePlan, tracked: Set<IPAddress>?) async {}

    func run(_ plan: ProbePlan) async -> [ProbeFinding] {
        runs.withLock { $0 += 1 }
        return IPFamily.allCases.map { family in
            let rules = kernel.machine.withLock { $0.text(family) }.split(separator: "\n")
            let above = rules.filter { $0.hasPrefix("-A FORWARD ") }.prefix { !$0.hasSuffix("NATFLEET-FWD") }
            let isCut = above.contains { $0.hasSuffix("-j DROP") } || isBroken.withLock { $0 }
            return ProbeFinding(
                family: family, masquerade: "web/egress", forwarded: isCut ? .no("the fake drops them") : .yes,
                translated: isCut ? .unasked("nothing was forwarded") : .yes)
        }
    }

    func stop() async {}
}
