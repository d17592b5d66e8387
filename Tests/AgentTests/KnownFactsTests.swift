// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: natfleet contributors

import FleetModel
import NATPolicy
import Synchronization
import Testing

@testable import AgentCore

/// A trial begins with the facts of the last look where nothing has moved that they tell of.
struct KnownFactsTests {
    private let host: FakeHost
    private let news = News()

    private final class News: Sendable {
        let count = Mutex<Int?>(0)
    }

    init() throws { host = try FakeHost() }

    /// Applies, then has the host's facts fail: they are not asked for again.
    private func applied(_ change: (inout FakeKernel.Machine) -> Void = { _ in }) async throws -> Reconciler {
        host.change(change)
        let agent = host.start(news: { [news] in news.count.withLock { $0 } })
        #expect(await agent.apply(try FakeHost.desired()).outcome?.result == .applied)
        host.faults.fail(.facts)
        return agent
    }

    private func isAppliedAgain(_ agent: Reconciler) async throws -> Bool {
        await agent.apply(try FakeHost.desired(to: "10.0.1.81:80")).outcome?.result == .applied
    }

    @Test func nothingIsAskedWhileNothingMoved() async throws {
        let agent = try await applied()
        #expect(try await isAppliedAgain(agent))
    }

    @Test(arguments: [1, nil]) func newsAndADeafListenerAreAReasonToLook(count: Int?) async throws {
        let agent = try await applied()
        news.count.withLock { $0 = count }
        #expect(try await !isAppliedAgain(agent))
    }

    @Test func aLookAlwaysLooks() async throws {
        let agent = try await applied()
        #expect(await agent.reconcile(.everything).status.conditions.isEmpty == false)
        // What failed is not taken for known.
        #expect(try await !isAppliedAgain(agent))
    }

    /// What moves without news, such as an upgrade of iptables, is seen by a look, and by the one try that it is worth.
    @Test func aHostThatIsAnotherWithoutNewsIsWorthOneTry() async throws {
        let agent = host.start(news: { 0 })
        #expect(await agent.apply(try FakeHost.desired(interface: .named("eth7"))).outcome?.result == .refused)
        host.change { $0.facts.iptables.version = "1.8.11" }
        let retry = try #require(await agent.reconcile(.everything).retry)
        #expect(await agent.apply(retry).outcome?.result == .refused)
        #expect(await agent.reconcile(.everything).retry == nil)
    }

    @Test func theLegacyBackEndTellsNothing() async throws {
        let agent = try await applied { $0.facts.iptables.backend = .legacy }
        #expect(try await !isAppliedAgain(agent))
    }
}
