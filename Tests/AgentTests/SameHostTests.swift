// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: natfleet contributors

import FleetAPI
import FleetModel
import NATPolicy
import NetAddress
import Synchronization
import TestSupport
import Testing

@testable import AgentCore

/// Interfaces of containers come and go, and the host is the same to a policy that has nothing to do with them.
struct SameHostTests {
    struct Change: CustomTestStringConvertible, Sendable {
        let testDescription: String
        let isSame: Bool
        var make: @Sendable (inout HostFacts) throws -> Void
    }

    static let changes: [Change] = [
        Change(testDescription: "nothing", isSame: true) { _ in },
        Change(testDescription: "a container's interface", isSame: true) { try veth(&$0) },
        Change(testDescription: "a network of containers", isSame: true) { try bridge(&$0) },
        Change(testDescription: "a link-local address", isSame: true) {
            $0.interfaces[0].addresses.append(.init(try IPAddress("fe80::11"), prefixLength: 64))
        },
        Change(testDescription: "another gateway", isSame: false) {
            $0.routes[0].gateway = try IPAddress("10.0.0.254")
        },
        Change(testDescription: "another address", isSame: false) {
            $0.interfaces[0].addresses[0].address = try IPAddress("10.0.0.12")
        },
        Change(testDescription: "one address more", isSame: false) {
            $0.interfaces[0].addresses.append(.init(try IPAddress("10.0.0.12"), prefixLength: 24))
        },
        Change(testDescription: "a route to clients", isSame: false) {
            $0.routes.append(
                .init(destination: try CIDR("10.0.1.0/24"), interface: "eth0", gateway: try IPAddress("10.0.0.2")))
        },
        Change(testDescription: "clients behind another interface", isSame: false) {
            $0.routes.append(.init(destination: try CIDR("10.0.1.0/24"), interface: "eth1"))
        },
        Change(testDescription: "another iptables", isSame: false) { $0.iptables.version = "1.8.11" },
        Change(testDescription: "rules in the other back end", isSame: false) {
            $0.iptables.otherRules = ["IPv4 nat POSTROUTING"]
        },
    ]

    @Sendable private static func veth(_ facts: inout HostFacts) throws {
        facts.interfaces.append(
            .init(name: "veth1a2b", addresses: [.init(try IPAddress("fe80::1a:2b"), prefixLength: 64)]))
        facts.routes.append(.init(destination: try CIDR("fe80::/64"), interface: "veth1a2b"))
    }

    @Sendable private static func bridge(_ facts: inout HostFacts) throws {
        facts.interfaces.append(
            .init(name: "br-1a2b", addresses: [.init(try IPAddress("172.18.0.1"), prefixLength: 16)]))
        facts.routes.append(.init(destination: try CIDR("172.18.0.0/16"), interface: "br-1a2b"))
    }

    @Test(arguments: changes)
    func onlyWhatThePolicyRestsOnCounts(_ change: Change) async throws {
        let (policy, facts) = (try FakeHost.desired().policy, try FakeHost.facts())
        var changed = facts
        try change.make(&changed)
        #expect(changed.isSame(as: facts, to: policy) == change.isSame)

        // A reverted policy is an outage each time it is tried.
        let host = try FakeHost()
        let agent = host.start()
        _ = await agent.apply(try FakeHost.desired())
        let other = try FakeHost.desired(to: "10.0.1.81:80")
        #expect(await agent.apply(other, confirmed: false).outcome?.result == .reverted)
        host.change { $0.facts = changed }
        #expect(await (agent.reconcile(.everything).retry == nil) == change.isSame)
        _ = host.touched()
        if change.isSame { _ = await agent.apply(other) }
        #expect(host.touched().isEmpty)
    }

    /// For the agent that runs, and one that starts while the container is there.
    @Test(arguments: [false, true]) func aContainerIsNoReasonToSaveAndHidesNoDrift(isNew: Bool) async throws {
        let host = try FakeHost()
        let disk = try FakeDisk(.redHat, of: host)
        let first = host.start(persistence: disk)
        _ = await first.apply(try FakeHost.desired())
        let agent = isNew ? host.start(persistence: disk) : first
        let state = host.state
        // As Docker does, with rules of its own that go again with the container.
        let theirs = "PREROUTING -p tcp -j DNAT --to-destination 172.18.0.2"
        try host.change { machine in
            try Self.veth(&machine.facts)
            try Self.bridge(&machine.facts)
            try machine.tables[.ipv4]?.restore("*nat\n-F NATFLEET-POST\n-A \(theirs)\nCOMMIT\n")
        }
        let report = await agent.reconcile(.everything)
        #expect(report.status.drift?.repairs == 1 && report.status.conditions.map(\.code) == ["drift-repaired"])
        #expect(disk.machine.saved(.ipv4, .redHat)?.contains("172.18.0.2") == false)
        try host.change { try $0.tables[.ipv4]?.restore("*nat\n-D \(theirs)\nCOMMIT\n") }
        #expect(host.state == state)
    }

    /// With a policy that does not run here the host is asked about at each look, by five programs.
    @Test func aRefusedPolicyAsksNobodyWhileNothingMoves() async throws {
        let host = try FakeHost()
        let news = News()
        let agent = host.start(news: { news.count.withLock { $0 } })
        host.change { $0.generation = 1 }
        _ = await agent.apply(try FakeHost.desired())
        _ = await agent.apply(try FakeHost.desired(interface: .named("eth7")))
        for look in [Look.glance, .rules] {
            host.faults.fail(.facts)
            _ = await agent.reconcile(look)
            #expect(host.faults.failed == nil)
            news.count.withLock { $0 += 1 }
            _ = await agent.reconcile(look)
            #expect(host.faults.failed == .facts)
            host.faults.failOnce(at: nil)
            host.faults.fail()
            _ = await agent.reconcile(look)
        }
    }

    private final class News: Sendable {
        let count = Mutex(0)
    }
}
