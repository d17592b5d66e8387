// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: natfleet contributors

import FleetAPI
import FleetModel
import NATPolicy
import NetAddress
import TestSupport
import Testing

@testable import AgentCore

/// What runs is what was asked, whatever the host, the disk and the controller do.
struct ReconcilerTests {
    private let host: FakeHost
    private let agent: Reconciler

    init() throws {
        host = try FakeHost()
        agent = host.start()
    }

    @Test func appliesReportsAndKeeps() async throws {
        let report = await agent.apply(try FakeHost.desired())
        #expect(report.status.phase == .applied && report.status.conditions.isEmpty)
        #expect(report.status.runningHash == (try FakeHost.desired().hash))
        #expect(report.outcome?.result == .applied)
        #expect(host.rules(.ipv4).contains("--to-destination 10.0.1.80:80"))

        _ = host.touched()
        let again = await agent.reconcile()
        #expect(again.outcome == nil && again.status == report.status)
        #expect(host.touched().isEmpty)
    }

    @Test func aPolicyThatCannotBeTrueHereTouchesNothing() async throws {
        _ = await agent.apply(try FakeHost.desired())
        _ = host.touched()
        let report = await agent.apply(try FakeHost.desired(interface: .named("eth7")))
        #expect(report.outcome?.result == .refused)
        #expect(report.outcome?.detail.contains("eth7") == true)
        #expect(report.status.phase == .refused && report.status.conditions.map(\.code) == ["policy-refused"])
        #expect(report.status.runningHash == (try FakeHost.desired().hash))
        let later = await agent.reconcile()
        #expect(later.outcome == nil && later.status.phase == .refused, "nothing changed: no second try")
        #expect(host.touched().isEmpty)
    }

    @Test func aRefusedPolicyIsTriedAgainWhenTheHostChanges() async throws {
        _ = await agent.apply(try FakeHost.desired(interface: .named("eth7")))
        host.change { $0.facts.interfaces[0].name = "eth7" }
        host.change { machine in
            for index in machine.facts.routes.indices { machine.facts.routes[index].interface = "eth7" }
        }
        let report = await agent.reconcile()
        #expect(report.outcome?.result == .applied && report.status.conditions.isEmpty)
    }

    @Test func aPolicyWithoutItsHashIsRefusedForGood() async throws {
        var desired = try FakeHost.desired()
        desired.hash = String(repeating: "0", count: 64)
        #expect(await agent.apply(desired).outcome?.result == .refused)
        #expect(host.touched().isEmpty)
        for _ in 0..<3 { #expect(await agent.reconcile().outcome == nil) }
    }

    @Test func lostFactsKeepTheRules() async throws {
        _ = await agent.apply(try FakeHost.desired())
        let (state, _) = (host.state, host.touched())
        host.change { machine in
            machine.facts.routes = []
            machine.facts.interfaces = []
        }
        var report = await agent.reconcile()
        #expect(report.status.conditions.isEmpty && report.look.again == 3)
        host.clock.advance(3)
        report = await agent.reconcile(.glance)
        #expect(
            report.status.conditions.map(\.code) == ["outside-interface-missing"] && report.status.phase == .applied)
        #expect(await agent.reconcile(.rules).status.conditions == report.status.conditions, "no look at facts")
        #expect(host.state == state && host.touched().isEmpty)
        host.change { $0.facts = (try? FakeHost.facts()) ?? $0.facts }
        #expect(await agent.reconcile().status.conditions.isEmpty)
    }

    @Test func aNewAddressCompilesAgain() async throws {
        _ = await agent.apply(try FakeHost.desired())
        try host.change { $0.facts = try FakeHost.facts(address: "10.0.0.99") }
        let report = await agent.reconcile()
        #expect(report.status.phase == .applied && report.outcome == nil)
        #expect(host.rules(.ipv4).contains("-d 10.0.0.99/32") && !host.rules(.ipv4).contains("10.0.0.11"))
    }

    @Test func driftIsRepaired() async throws {
        _ = await agent.apply(try FakeHost.desired())
        let state = host.state
        try host.change { machine in
            try machine.tables[.ipv4]?.restore("*nat\n-F NATFLEET-POST\nCOMMIT\n")
            let jump = "-I FORWARD 1 -j NATFLEET-FWD\n"
            try machine.tables[.ipv6]?.restore("*filter\n-D FORWARD -j NATFLEET-FWD\n\(jump)\(jump)COMMIT\n")
            machine.sysctls["net.ipv6.conf.all.forwarding"] = "0"
        }
        #expect(host.state != state)
        let report = await agent.reconcile()
        #expect(host.state == state && report.status.conditions.map(\.code) == ["drift-repaired"])
        #expect(report.status.drift?.repairs == 1)
        #expect(report.status.drift?.lastDifference.contains("NATFLEET-POST") == true)
        host.clock.advance(301)
        #expect(await agent.reconcile().status.conditions.isEmpty)
    }

    @Test func aFightIsNamedAndPacedAndForgottenWhenItEnds() async throws {
        _ = await agent.apply(try FakeHost.desired())
        var report = await agent.reconcile()
        for round in 1...3 {
            try host.change { try $0.tables[.ipv4]?.restore("*nat\n-F NATFLEET-POST\nCOMMIT\n") }
            host.clock.advance(40)
            report = await agent.reconcile()
            #expect(report.look.isContended == (round == 3))
        }
        #expect(report.status.conditions.map(\.code) == ["contended"])
        #expect(report.status.conditions.first?.message.contains("NATFLEET-POST") == true)
        host.clock.advance(301)
        report = await agent.reconcile()
        #expect(report.status.conditions.isEmpty && !report.look.isContended)
    }

    @Test func anUnconfirmedChangeIsTakenBackAndNotTriedAgainUntilTheHostChanges() async throws {
        _ = await agent.apply(try FakeHost.desired())
        let state = host.state
        let other = try FakeHost.desired(to: "10.0.1.81:80")
        var report = await agent.apply(other, confirmed: false)
        #expect(report.outcome?.result == .reverted && report.status.phase == .reverted)
        #expect(report.status.conditions.map(\.code) == ["trial-reverted"] && host.state == state)
        #expect(report.status.runningHash == (try FakeHost.desired().hash))
        #expect(try host.files.read(.trial) == nil, "the way back is forgotten")

        _ = host.touched()
        // Not by itself, not when offered again, not after a restart.
        let restarted = host.start()
        for agent in [agent, restarted] {
            #expect(await agent.reconcile().outcome == nil)
            let again = await agent.apply(other)
            #expect(again.outcome?.detail == report.outcome?.detail && again.status.phase == .reverted)
        }
        #expect(host.touched().isEmpty)
        try host.change { $0.facts = try FakeHost.facts(address: "10.0.0.99") }
        report = await agent.reconcile()
        #expect(report.outcome?.result == .applied && report.status.phase == .applied)
        #expect(try host.files.read(.refusal) == nil)
    }

    /// The agent ends at every step of a trial; the next one takes back what was touched, before anything else.
    @Test(arguments: [TrialMachine.State.testing, .arming, .applying, .proving, .confirming])
    func anAgentThatEndsInATrialIsTakenBack(_ last: TrialMachine.State) async throws {
        _ = await agent.apply(try FakeHost.desired())
        let state = host.state
        let other = try FakeHost.desired(to: "10.0.1.81:80")
        var machine = TrialMachine()
        var actions = machine.handle(.offered(other), now: 0)
        while machine.state != last, case .perform(let step) = actions.first {
            actions = machine.handle(await agent.perform(step).0, now: 0)
        }
        let wasTouched = host.state != state
        #expect(wasTouched == [.proving, .confirming].contains(last))
        let next = host.start()
        let report = await next.start()
        #expect(try host.state == state && report.status.runningHash == (FakeHost.desired().hash))
        #expect((report.outcome?.result == .reverted) == [.applying, .proving, .confirming].contains(last))
        #expect(await next.reconcile().status.conditions.count == (report.outcome == nil ? 0 : 1))
        #expect(host.leaks.isEmpty)
    }

    @Test func aTrialLeftOnDiskIsTakenBackEvenWhereThatFailsAtFirst() async throws {
        _ = await agent.apply(try FakeHost.desired())
        let state = host.state
        var machine = TrialMachine()
        var actions = machine.handle(.offered(try FakeHost.desired(to: "10.0.1.81:80")), now: 0)
        while machine.state != .confirming, case .perform(let step) = actions.first {
            actions = machine.handle(await agent.perform(step).0, now: 0)
        }
        #expect(host.state != state)

        let next = host.start()
        host.faults.fail(.restore)
        machine = TrialMachine()
        _ = machine.handle(.started, now: 0)
        actions = machine.handle(await next.perform(.recover).0, now: 0)
        #expect(actions.isEmpty && host.state != state)
        host.faults.fail()
        guard case .perform(let step) = machine.handle(.ticked, now: 1).first else {
            Issue.record("nothing is tried again in \(machine.state)")
            return
        }
        let (event, report) = await next.perform(step)
        _ = machine.handle(event, now: 1)
        #expect(machine.state == .idle && host.state == state && report.outcome?.result == .reverted)
        #expect(try host.files.read(.trial) == nil, "the way back is forgotten")
    }

    @Test func afterARebootNothingOfTheTrialIsPutBackFromMemory() async throws {
        var machine = TrialMachine()
        var actions = machine.handle(.offered(try FakeHost.desired()), now: 0)
        while machine.state != .confirming, case .perform(let step) = actions.first {
            actions = machine.handle(await agent.perform(step).0, now: 0)
        }
        host.change { machine in
            let fresh = FakeKernel.Machine(facts: machine.facts)
            (machine.tables, machine.sysctls, machine.bootID) = (fresh.tables, fresh.sysctls, "boot 2")
        }
        _ = host.touched()
        #expect(await host.start().start().outcome?.result == .reverted)
        #expect(host.touched().isEmpty)
    }

    /// A change that gives a setting back forgets the value found, and a file sets it before natfleet looks again.
    @Test func aRebootInATrialForgetsNoValueFound() async throws {
        _ = await agent.apply(try FakeHost.desired())
        let (state, found) = (host.state, try host.found)
        var machine = TrialMachine()
        var actions = machine.handle(.offered(FakeHost.nothing), now: 0)
        while machine.state != .confirming, case .perform(let step) = actions.first {
            actions = machine.handle(await agent.perform(step).0, now: 0)
        }
        #expect(try host.found != found)
        host.change { machine in
            let fresh = FakeKernel.Machine(facts: machine.facts)
            (machine.tables, machine.sysctls, machine.bootID) = (fresh.tables, fresh.sysctls, "boot 2")
            machine.sysctls["net.ipv6.conf.eth0.accept_ra"] = "2"
        }
        #expect(await host.start().restore())
        #expect(await host.start().start().outcome?.result == .reverted)
        #expect(try host.found == found)
        #expect(host.state == state)
    }

    @Test func whatIsNotOnDiskIsNeverGreenAndIsTriedAgain() async throws {
        host.change { machine in
            for key in machine.sysctls.keys { machine.sysctls[key] = key.contains("redirects") ? "0" : "1" }
            machine.sysctls["net.ipv6.conf.eth0.accept_ra"] = "2"
        }
        let report = await agent.apply(try FakeHost.desired()) { host.faults.fail(.writeFile) }
        #expect(report.outcome?.result == .applied && report.status.conditions.map(\.code) == ["not-persisted"])
        #expect(await agent.reconcile().status.conditions.map(\.code) == ["not-persisted"])
        host.faults.fail()
        host.clock.advance(1)
        #expect(await agent.reconcile().status.conditions.isEmpty)
        #expect(await host.start().reconcile().status.runningHash == (try FakeHost.desired().hash))
    }

    @Test func aFailedChangeIsTriedAgainWithGrowingPauses() async throws {
        host.faults.fail(.restore)
        let state = host.state
        #expect(await agent.apply(try FakeHost.desired()).outcome?.result == .failed)
        var tries: [Int] = []
        for tick in 1...20 where await agent.reconcile().outcome != nil { tries.append(tick) }
        #expect(tries == [1, 3, 7, 15] && host.state == state)
        host.faults.fail()
        var report = await agent.reconcile()
        for _ in 0..<20 where report.outcome == nil { report = await agent.reconcile() }
        #expect(report.outcome?.result == .applied && report.status.conditions.isEmpty)
    }

    @Test func startsFromDiskWithoutAController() async throws {
        _ = await agent.apply(try FakeHost.desired())
        let state = host.state
        for restart in [{ await host.start().restore() }, { await host.start().reconcile().status.phase == .applied }] {
            host.change { machine in
                let fresh = FakeKernel.Machine(facts: machine.facts)
                (machine.tables, machine.sysctls) = (fresh.tables, fresh.sysctls)
            }
            #expect(await restart())
            #expect(host.state == state)
        }
    }

    /// Somebody flushed the rules while no agent ran: nobody is told that they are there before they are.
    @Test func whatWasKeptIsNotCalledAppliedBeforeALook() async throws {
        _ = await agent.apply(try FakeHost.desired())
        let next = host.start()
        #expect(await next.firstStatus.phase == .applying)
        #expect(await next.start().status.phase == .applying)
        #expect(await next.reconcile(.everything).status.phase == .applied)
        host.faults.fail(.observe)
        let blind = host.start()
        let report = await blind.reconcile(.everything)
        #expect(report.status.phase == .applied && report.status.conditions.map(\.code) == ["apply-failed"])
    }

    @Test func restoreSaysSoWhenTheDiskIsUnreadable() async throws {
        #expect(await agent.restore(), "nothing was applied yet")
        try host.files.write(.applied, Array("{".utf8))
        #expect(await host.start().restore() == false)
        #expect(host.touched().isEmpty)
    }

    @Test func theValuesFoundGoBackEvenAfterARestart() async throws {
        let state = host.state
        _ = await agent.apply(try FakeHost.desired())
        let report = await host.start().apply(FakeHost.nothing)
        #expect(report.outcome?.result == .applied && host.state == state)
        #expect(try host.found.isEmpty)
    }
}
