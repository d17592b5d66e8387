// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: natfleet contributors

import FleetModel
import NATPolicy
import NetAddress
import Synchronization
import TestSupport
import Testing

@testable import AgentCore

/// What an agent that runs a policy reports of its machine.
struct ReconcilerHealthTests {
    private let host: FakeHost
    private let agent: Reconciler

    init() async throws {
        host = try FakeHost()
        host.change { $0.generation = 1 }
        agent = host.start()
        _ = await agent.apply(try FakeHost.desired())
    }

    private func codes(_ look: Look = .glance) async -> [String] {
        await agent.reconcile(look).status.conditions.map(\.code)
    }

    @Test func forwardingThatCannotBeTurnedOnAgain() async throws {
        host.faults.fail(.setSysctl)
        host.change { $0.sysctls["net.ipv4.ip_forward"] = "0" }
        let report = await agent.reconcile(.glance)
        #expect(report.status.conditions.map(\.code) == ["apply-failed", "forwarding-off"])
        #expect(report.status.conditions.last?.family == .ipv4)
        host.faults.fail()
        #expect(await codes() == ["drift-repaired"])
    }

    @Test func rulesThatCannotBePutBack() async throws {
        host.faults.fail(.restore)
        try host.change { machine in
            try machine.tables[.ipv6]?.restore("*nat\n-F NATFLEET-POST\nCOMMIT\n")
            machine.generation = 2
        }
        let report = await agent.reconcile(.glance)
        let missing = try #require(report.status.conditions.last)
        #expect(report.status.conditions.map(\.code) == ["apply-failed", "rules-missing"] && missing.family == .ipv6)
        #expect(missing.message.hasPrefix("IPv6: ") && missing.message.contains("NATFLEET-POST"))
        host.faults.fail()
        #expect(await codes() == ["drift-repaired"])
    }

    @Test func aTableThatIptablesCannotShow() async throws {
        host.change { machine in
            machine.remark = "# Table `nat' is incompatible, use 'nft' tool.\n"
            machine.generation = 2
        }
        let report = await agent.reconcile(.glance)
        #expect(report.status.conditions.map(\.code) == ["table-unreadable"])
        #expect(report.status.conditions.first?.message.contains("table nat holds native nft rules") == true)
        // A new policy is not taken either, for the same reason, and a restart forgets nothing.
        let other = try FakeHost.desired(to: "10.0.1.81:80")
        #expect(await agent.apply(other).status.conditions.map(\.code) == ["table-unreadable"])
        #expect(await host.start().start().status.conditions.map(\.code) == ["table-unreadable"])
        host.change { $0.remark = "" }
        for _ in 0..<3 { _ = await agent.reconcile() }
        #expect(await codes() == [])
    }

    @Test func aFactThatIsLostStaysLostUntilItIsBack() async throws {
        host.change { $0.facts.routes.removeAll { $0.destination == .everything(.ipv6) } }
        #expect(await codes(.everything) == [])
        host.clock.advance(3)
        #expect(await codes() == ["ipv6-route-lost"])
        // A look at the rules alone says nothing of routes.
        host.change { $0.generation = 2 }
        #expect(await codes() == ["ipv6-route-lost"])
        try host.change { $0.facts = try FakeHost.facts() }
        #expect(await codes(.everything) == [])
    }

    /// A flow that began while eth0 had no address is masqueraded to whatever address the host has, and keeps it.
    @Test func flowsThatWentAstrayEndWhenTheAddressIsBack() async throws {
        let inside = HostFacts.Interface(
            name: "eth1", addresses: [.init(try IPAddress("2001:db8:0:109::13"), prefixLength: 64)])
        host.change { $0.facts.interfaces.append(inside) }
        #expect(await codes(.everything) == [])
        let whole = host.kernel.machine.withLock { $0.facts }
        host.change { $0.facts.interfaces[0].addresses.removeAll { $0.address.family == .ipv6 } }
        _ = await codes(.everything)
        let server = "[2001:db8:ffff::7]:53"
        let astray = try TrackedFlow("udp [2001:db8:0:101::10]:4000 \(server) \(server) [2001:db8:0:109::13]:4000")
        let right = try TrackedFlow("udp [2001:db8:0:101::10]:4001 \(server) \(server) [2001:db8:0:100::11]:4001")
        let foreign = try TrackedFlow("udp [2001:db8:0:101::10]:4003 \(server) \(server) [2001:db8:0:10a::1]:4003")
        host.flows.flows.withLock { $0 = [astray, right, foreign] }
        _ = await codes(.everything)
        #expect(host.flows.flows.withLock { $0.count } == 3, "it is not back yet")
        host.change { $0.facts = whole }
        #expect(await codes(.everything) == [])
        #expect(host.flows.flows.withLock { $0 } == [right, foreign])
    }

    @Test func clientsThatNeverCome() async throws {
        #expect(await codes() == [])
        host.clock.advance(600)
        #expect(await codes() == ["no-client-traffic"])
        let (client, server) = (try IPAddress("10.0.1.10"), try IPAddress("198.51.100.7"))
        let flow = TrackedFlow(
            original: FlowTuple(source: client, destination: server, protocolNumber: 1, detail: .none),
            reply: FlowTuple(
                source: server, destination: try IPAddress("10.0.0.11"), protocolNumber: 1, detail: .none))
        host.flows.flows.withLock { $0 = [flow] }
        host.clock.advance(30)
        #expect(await codes() == [])
        // It has gone, as its connection in the table tells that nobody closed.
        var stale = try TrackedFlow("tcp 10.0.1.10:4000 198.51.100.7:443 198.51.100.7:443 10.0.0.11:4000")
        stale.timeout = 400_000
        host.flows.flows.withLock { $0 = [stale] }
        host.clock.advance(3000)
        #expect(await codes() == [])
        host.clock.advance(600)
        #expect(await codes() == ["no-client-traffic"])
        stale.timeout = 432_000
        host.flows.flows.withLock { $0 = [stale] }
        host.clock.advance(300)
        #expect(await codes() == [])
    }

    @Test func aClientThatHasAnAddressOfTheProbe() async throws {
        let agent = host.start(probe: SilentProbe())
        _ = await agent.start()
        func codes(_ flow: String, after seconds: Double) async throws -> [String] {
            let flow = try TrackedFlow(flow)
            host.flows.flows.withLock { $0 = [flow] }
            host.clock.advance(seconds)
            return await agent.reconcile(.glance).status.conditions.map(\.code)
        }
        let own = "udp 10.0.0.3:4000 192.0.2.1:9 192.0.2.1:9 10.0.0.11:4000"
        #expect(try await codes(own, after: 0) == [])
        #expect(try await codes(own, after: 600) == ["no-client-traffic"])
        let client = "udp 10.0.0.3:4000 198.51.100.7:443 198.51.100.7:443 10.0.0.11:4000"
        #expect(try await codes(client, after: 300) == [])
    }

    @Test func theClockAndTheController() async throws {
        await agent.hear(LinkHealth(clockSkew: 3000, trouble: "connection refused"))
        #expect(await codes() == [])
        host.clock.advance(120)
        #expect(await codes() == ["clock-skew"])
        #expect(await agent.shownConditions.map(\.code) == ["clock-skew", "controller-unreachable"])
        await agent.hear(LinkHealth(clockSkew: 1))
        #expect(await codes() == [])
        #expect(await agent.shownConditions.isEmpty)
    }
}

/// Has a plan and finds nothing.
private struct SilentProbe: DataPathProbe {
    func prepare(_ plan: ProbePlan, tracked: Set<IPAddress>?) async {}

    func run(_ plan: ProbePlan) async -> [ProbeFinding] { [] }

    func stop() async {}
}
