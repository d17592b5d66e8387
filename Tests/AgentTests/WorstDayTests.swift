// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: natfleet contributors

import AgentCore
import FleetAPI
import FleetModel
import NATPolicy
import NetAddress
import Netfilter
import Synchronization
import TestSupport
import Testing

/// The machine boots and the restore of the rules fails: it does not forward untranslated, and heals when the agent runs.
struct WorstDayTests {
    private let host: FakeHost
    private let asApplied: [String]

    init() async throws {
        host = try FakeHost()
        _ = await host.start().apply(try FakeHost.desired())
        asApplied = host.state
        #expect(host.leaks.isEmpty)
    }

    /// The distribution restored nothing: its file was broken, or its binary missing.
    @Test func ownRulesComeBackWithoutTheDistribution() async throws {
        try host.reboot()
        #expect(await host.start().restore())
        #expect(host.state == asApplied && host.leaks.isEmpty)
    }

    /// It restored an old file, or that of one family only.
    @Test func whatTheDistributionRestoredIsMended() async throws {
        let old = host.rules(.ipv4).replacing("10.0.1.80", with: "10.0.1.99")
        try host.reboot(restored: [.ipv4: old])
        #expect(host.rules(.ipv4).contains("10.0.1.99"))
        #expect(await host.start().restore())
        #expect(host.state == asApplied && host.leaks.isEmpty)
    }

    /// No rule can be loaded at all: the machine does not forward, and is well again once it can.
    @Test(arguments: [Faults.Operation.restore, .rehearse, .observe])
    func withoutRulesItDoesNotForward(_ broken: Faults.Operation) async throws {
        try host.reboot()
        host.faults.fail(broken)
        #expect(await host.start().restore() == false)
        #expect(host.isForwarding == [false, false] && host.leaks.isEmpty)

        let agent = host.start()
        let report = await agent.reconcile()
        let families =
            ["forwarding-off", "forwarding-off"] + (broken == .restore ? ["rules-missing", "rules-missing"] : [])
        #expect(report.status.conditions.map(\.code) == ["apply-failed"] + families)
        #expect(report.status.conditions.first?.message.isEmpty == false)
        #expect(host.isForwarding == [false, false])
        host.faults.fail()
        #expect(await agent.reconcile().status.conditions.allSatisfy { $0.code == "drift-repaired" })
        #expect(host.state == asApplied && host.leaks.isEmpty)
    }

    /// Somebody's sysctl file forwards before any rule is there.
    @Test func theGateClosesWhatOthersOpened() throws {
        try host.reboot(isForwarding: true)
        let gate = ForwardingGate(kernel: host.kernel)
        let policy = try FakeHost.desired().policy
        #expect(
            gate.close(policy.forwarding.families) == [
                "net.ipv4.ip_forward was 1 without natfleet's rules and is 0 now",
                "net.ipv6.conf.all.forwarding was 1 without natfleet's rules and is 0 now",
            ])
        #expect(host.isForwarding == [false, false] && gate.close(policy.forwarding.families).isEmpty)
    }

    /// The same, and no rule can be loaded.
    @Test func aRestoreThatFailsClosesTheGate() async throws {
        try host.reboot(isForwarding: true)
        host.faults.fail(.restore)
        #expect(await host.start().restore() == false)
        #expect(host.isForwarding == [false, false])
        host.faults.fail()
        #expect(await host.start().reconcile().status.conditions.allSatisfy { $0.code == "drift-repaired" })
        #expect(host.state == asApplied)
    }

    /// The same, and nobody can tell which policy ran.
    @Test func aRestoreOfRulesAloneThatFailsClosesTheGate() async throws {
        host.files.contents.withLock { $0[.applied] = [1] }
        try host.reboot(isForwarding: true)
        host.faults.fail(.restore)
        #expect(await host.start().restore() == false)
        #expect(host.isForwarding == [false, false])
    }

    @Test func theGateLeavesFamiliesAloneThatThePolicyDoesNotForward() throws {
        try host.reboot(isForwarding: true)
        var policy = try FakeHost.desired().policy
        policy.forwarding.ipv6 = false
        #expect(ForwardingGate(kernel: host.kernel).close(policy.forwarding.families).count == 1)
        #expect(host.isForwarding == [false, true])
        host.faults.fail(.setSysctl)
        policy.forwarding.ipv6 = true
        let failures = ForwardingGate(kernel: host.kernel).close(policy.forwarding.families)
        #expect(failures.count == 1 && failures[0].contains("stays as it is"))
    }
}
