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

/// What a policy rests on is gone, or nobody can say what there is: rules stay as they were, and whoever flushes them does not
/// get the better of the agent.
struct LostGroundTests {
    struct Loss: CustomTestStringConvertible, Sendable {
        let testDescription: String
        let codes: [String]
        let says: String
        var lose: @Sendable (FakeHost) -> Void
    }

    static let losses: [Loss] = [
        Loss(
            testDescription: "the address of a port forward", codes: ["facts-lost"],
            says: "destination 10.0.0.50 is no address of this host"
        ) { host in
            host.change { $0.facts.interfaces[0].addresses.removeLast() }
        },
        Loss(
            testDescription: "a named interface", codes: ["outside-interface-missing"], says: "interface eth1 is gone"
        ) { host in
            host.change { $0.facts.interfaces.removeLast() }
        },
        Loss(
            testDescription: "a named interface's address", codes: ["outside-address-missing"],
            says: "interface eth1 has no IPv6 address any more"
        ) { host in
            host.change { $0.facts.interfaces[1].addresses.removeLast() }
        },
        Loss(
            testDescription: "an interface by its name", codes: ["outside-interface-missing"],
            says: "interface eth1 is gone"
        ) { host in
            host.change { $0.facts.interfaces[1] = .init(name: "wan0", addresses: []) }
        },
        Loss(testDescription: "sight", codes: ["apply-failed"], says: "ip: no") { $0.faults.fail(.facts) },
    ]

    /// Two interfaces, one of them named, with an address more for the port forward.
    private func host() async throws -> (FakeHost, Reconciler) {
        let host = try FakeHost()
        try host.change { machine in
            machine.generation = 1
            machine.facts.interfaces[0].addresses.append(.init(try IPAddress("10.0.0.50"), prefixLength: 24))
            machine.facts.interfaces.append(
                .init(
                    name: "eth1",
                    addresses: [
                        .init(try IPAddress("10.0.9.13"), prefixLength: 24),
                        .init(try IPAddress("2001:db8:0:109::13"), prefixLength: 64),
                    ]))
        }
        var policy = try FakeHost.desired(interface: .named("eth1")).policy
        policy.dnat[0].entry.destination = .address(try IPAddress("10.0.0.50"))
        let agent = host.start()
        #expect(await agent.apply(DesiredState(hash: policy.hash, policy: policy)).outcome?.result == .applied)
        return (host, agent)
    }

    @Test(arguments: losses)
    func driftIsRepairedAllTheSame(_ loss: Loss) async throws {
        let (host, first) = try await host()
        let (facts, state) = (host.kernel.machine.withLock { $0.facts }, host.state)
        loss.lose(host)
        // By the agent that saw it go, and by one that started since.
        for agent in [first, host.start()] {
            _ = await agent.reconcile(.everything)
            host.clock.advance(3)
            let report = await agent.reconcile(.glance)
            #expect(report.status.conditions.map(\.code) == loss.codes && host.state == state)
            #expect(report.status.conditions.first?.message.contains(loss.says) == true)
            try host.change { machine in
                for family in IPFamily.allCases {
                    try machine.tables[family]?.restore("*nat\n-F NATFLEET-POST\nCOMMIT\n")
                }
                machine.generation = 2
            }
            let repaired = await agent.reconcile(.glance).status
            #expect(host.state == state && repaired.drift?.repairs == 1)
            #expect(repaired.conditions.map(\.code) == (loss.codes + ["drift-repaired"]))
            host.change { $0.generation = 1 }
            _ = await agent.reconcile(.glance)
        }
        host.faults.fail()
        host.change { $0.facts = facts }
        #expect(await first.reconcile(.everything).status.conditions.map(\.code) == ["drift-repaired"])
        #expect(host.state == state)
    }

    @Test func whatWasLostIsAskedForWithoutNewsOfIt() async throws {
        let (host, agent) = try await host()
        host.faults.fail(.facts)
        #expect(await agent.reconcile(.everything).status.conditions.count == 1)
        host.faults.fail()
        #expect(await agent.reconcile(.glance).status.conditions.isEmpty)
    }
}
