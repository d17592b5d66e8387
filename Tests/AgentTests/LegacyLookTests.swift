// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: natfleet contributors

import FleetModel
import NATPolicy
import NetAddress
import TestSupport
import Testing

@testable import AgentCore

/// The legacy back end counts no generations: what the kernel's tables amount to says whether rules have to be read.
struct LegacyLookTests {
    private let host: FakeHost
    private let agent: Reconciler

    init() async throws {
        host = try FakeHost()
        host.change { $0.facts.iptables.backend = .legacy }
        agent = host.start()
        _ = await agent.apply(try FakeHost.desired())
        let look = await agent.reconcile(.everything).look
        #expect(!look.isBlind && look.isSilent)
        _ = host.touched()
    }

    @Test(arguments: [Look.glance, .rules, .everything]) func whatIsAsItWasIsNotRead(_ look: Look) async throws {
        host.faults.fail(.observe)
        #expect(await agent.reconcile(look).status.conditions.isEmpty && host.touched().isEmpty)
    }

    @Test func aGlanceSeesThatRulesAreGone() async throws {
        try host.change { try $0.tables[.ipv4]?.restore("*nat\n-F NATFLEET-POST\nCOMMIT\n") }
        #expect(await agent.reconcile(.glance).status.conditions.map(\.code) == ["drift-repaired"])
        #expect(host.rules(.ipv4).contains("MASQUERADE"))
    }

    /// A rule that says something else in as many bytes.
    @Test func aLookAtTheRulesSeesWhatTheySay() async throws {
        let rules = host.rules(.ipv4).split(separator: "\n").filter { $0.hasPrefix("-A NATFLEET-POST ") }
        let changed = rules.joined(separator: "\n").replacing("MASQUERADE", with: "ACCEPT")
        try host.change { try $0.tables[.ipv4]?.restore("*nat\n-F NATFLEET-POST\n\(changed)\nCOMMIT\n") }
        _ = host.touched()
        #expect(await agent.reconcile(.glance).status.conditions.isEmpty && host.touched().isEmpty)
        #expect(await agent.reconcile(.rules).status.conditions.map(\.code) == ["drift-repaired"])
        #expect(host.rules(.ipv4).contains("MASQUERADE"))
    }
}
