// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: natfleet contributors

import FleetAPI
import FleetModel
import Foundation
import NATPolicy
import Synchronization
import Testing

@testable import AgentCore

/// What the running agent tells on the instance itself, and what `status` makes of it.
struct ToldConditionsTests {
    private let host: FakeHost
    private let agent: Reconciler

    init() throws {
        host = try FakeHost()
        agent = host.start()
    }

    private var told: ToldConditions? { get throws { try host.told.load(ToldConditions.self, .told) } }

    private func codes() throws -> [String]? { try told?.conditions.map(\.code) }

    @Test func statusShowsWhatTheAgentShows() async throws {
        _ = await agent.firstStatus
        #expect(try codes() == [], "what an agent before this one told is not the case any more")
        _ = await agent.apply(try FakeHost.desired(interface: .named("eth7")))
        #expect(try codes() == ["policy-refused"])
        // What only the instance itself can tell, too.
        await agent.hear(LinkHealth(trouble: "connection refused"))
        _ = await agent.reconcile()
        host.clock.advance(60)
        _ = await agent.reconcile()
        #expect(try codes() == ["policy-refused", "controller-unreachable"])

        let status = AgentStatus(await DoctorTests.look(host))
        #expect(try status.conditions == told?.conditions && status.conditionsSince == told?.since)
        #expect(try WireJSON.decode(AgentStatus.self, from: WireJSON.encode(status)) == status)
        let rows = status.table.drop { $0.what != "conditions" }.map(\.how)
        #expect(rows.count == 5 && rows[0].hasPrefix("since "))
        #expect(rows[1].hasPrefix("critical policy-refused: ") && rows[2].hasPrefix("  fix: read the reason"))

        _ = await agent.apply(try FakeHost.desired())
        await agent.hear(LinkHealth())
        _ = await agent.reconcile()
        let well = AgentStatus(await DoctorTests.look(host)).table.first { $0.what == "conditions" }
        #expect(well?.how.hasPrefix("none since ") == true)
    }

    @Test func onlyNewsIsWritten() async throws {
        _ = await agent.apply(try FakeHost.desired())
        host.told.contents.withLock { $0 = [:] }
        _ = await agent.reconcile()
        #expect(try told == nil)
        _ = await agent.apply(try FakeHost.desired(interface: .named("eth7")))
        #expect(try codes() == ["policy-refused"])
    }

    @Test func nothingIsToldOfAnAgentThatHasEnded() async throws {
        _ = await agent.apply(try FakeHost.desired())
        var found = await DoctorTests.look(host, agentRunning: false)
        #expect(try told != nil && found.told == nil)
        #expect(!AgentStatus(found).table.contains { $0.what == "conditions" })
        await agent.stop()
        found = await DoctorTests.look(host)
        #expect(try told == nil && found.told == nil && found.stateFaults.isEmpty)
    }

    @Test func aPlaceThatCannotBeWrittenHurtsNothing() async throws {
        host.toldFaults.fail(.writeFile)
        let report = await agent.apply(try FakeHost.desired())
        #expect(report.outcome?.result == .applied && report.status.conditions.isEmpty)
        #expect(try told == nil)
        host.toldFaults.fail()
        _ = await agent.reconcile()
        #expect(try codes() == [])
        // A whole disk that is full or read-only does not hide that it is.
        host.faults.fail(.writeFile)
        _ = await agent.apply(try FakeHost.desired(to: "10.0.1.81:80"))
        #expect(try codes() == ["apply-failed", "not-persisted"])
    }
}
