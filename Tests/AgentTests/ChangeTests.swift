// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: natfleet contributors

import FleetAPI
import NATPolicy
import NetAddress
import Synchronization
import TestSupport
import Testing

@testable import AgentCore

/// One change of the kernel: its order, and that it happens whole or not at all.
struct ChangeTests {
    private let host: FakeHost

    init() throws { host = try FakeHost() }

    private func run(_ desired: DesiredState) async throws -> [String] {
        var change = Change(kernel: host.kernel, files: host.files)
        let prepared = try await change.prepare(Target(try compile(desired.policy, on: try FakeHost.facts())))
        return try await change.perform(prepared).differences
    }

    @Test func turningOnEndsWithForwarding() async throws {
        #expect(try await !run(try FakeHost.desired()).isEmpty)
        let touched = host.touched()
        #expect(
            touched.prefix(3) == [
                "net.ipv4.conf.all.send_redirects=0", "net.ipv4.conf.eth0.send_redirects=0",
                "net.ipv6.conf.eth0.accept_ra=2",
            ])
        // The families go side by side.
        let rules = touched.dropFirst(3).dropLast(2)
        #expect(rules.filter { $0.hasPrefix("IPv4") } == ["IPv4 nat", "IPv4 filter", "IPv4 nat"])
        #expect(rules.filter { $0.hasPrefix("IPv6") } == ["IPv6 nat", "IPv6 filter"] && rules.count == 5)
        #expect(touched.suffix(2) == ["net.ipv4.ip_forward=1", "net.ipv6.conf.all.forwarding=1"])
        #expect(host.leaks.isEmpty)
    }

    @Test func allValuesFoundAreKeptBeforeAnyIsSet() async throws {
        _ = try await run(try FakeHost.desired())
        let kept = host.files.history.withLock { $0.compactMap { $0[.sysctls] } }
        #expect(kept.count == 1 && kept[0].count > 100)
    }

    @Test func turningOffBeginsWithForwardingAndGivesBackWhatWasFound() async throws {
        let before = host.state
        _ = try await run(try FakeHost.desired())
        _ = host.touched()
        _ = try await run(FakeHost.nothing)
        #expect(host.state == before)
        #expect(
            host.touched().prefix(3) == [
                "net.ipv4.ip_forward=0", "net.ipv4.conf.all.accept_redirects=0", "net.ipv6.conf.all.forwarding=0",
            ])
        #expect(host.leaks.isEmpty)
    }

    @Test func runningAgainTouchesNothing() async throws {
        _ = try await run(try FakeHost.desired())
        _ = host.touched()
        #expect(try await run(try FakeHost.desired()).isEmpty)
        #expect(host.touched().isEmpty)
    }

    @Test func whatWasRightBeforeIsNotGivenBack() async throws {
        host.change { $0.sysctls["net.ipv4.ip_forward"] = "1" }
        let before = host.state
        _ = try await run(try FakeHost.desired())
        _ = try await run(FakeHost.nothing)
        #expect(host.state == before)
    }

    @Test func aManagerThatHandlesRouterAdvertisementsIsLeftAlone() async throws {
        host.change { $0.sysctls["net.ipv6.conf.eth0.accept_ra"] = "0" }
        _ = try await run(try FakeHost.desired())
        #expect(host.sysctl("net.ipv6.conf.eth0.accept_ra") == "0")
    }

    enum Step: CaseIterable {
        case turnOn
        case change
        case turnOff
    }

    /// Whatever single operation fails, the machine is as it was, at no moment forwards untranslated, and the same change
    /// succeeds the next time. Only the note that a value went back may wait for the next change.
    @Test(arguments: Step.allCases)
    func aFailureAnywhereTakesAllOfItBack(_ step: Step) async throws {
        let target = step == .turnOff ? FakeHost.nothing : try FakeHost.desired(to: "10.0.1.81:8080")
        var number = 0
        while true {
            number += 1
            let tried = try ChangeTests()
            if step != .turnOn { _ = try await tried.run(try FakeHost.desired()) }
            let before = tried.host.state
            let found = try tried.host.found
            tried.host.faults.failOnce(at: number)
            do {
                _ = try await tried.run(target)
                guard tried.host.faults.count >= number else { break }
                let isNote = step == .turnOff && [.writeFile, .syncFolder].contains(tried.host.faults.failed)
                #expect(isNote, "operation \(number) failed and nobody minded")
                tried.host.faults.failOnce(at: nil)
                _ = try await tried.run(target)
                #expect(try tried.host.found.isEmpty)
            } catch let failure as ChangeFailure {
                #expect(tried.host.state == before, "operation \(number): \(failure)")
                #expect(failure.leftovers.isEmpty, "operation \(number): \(failure)")
                tried.host.faults.failOnce(at: nil)
                #expect(try tried.host.found == found, "operation \(number)")
            }
            _ = try await tried.run(target)
            #expect(tried.host.leaks.isEmpty, "operation \(number)")
        }
        #expect(number > 15, "only \(number) operations")
    }

    /// The way back to NAT while the families' programs fail, or end well and do nothing.
    enum Trouble: CaseIterable {
        case restoreFails
        case restoreDoesNothing
        case restoreOfIPv6DoesNothing
        case saveFails
    }

    /// Taking back a change that turned NAT off: a family forwards again once its rules were read back, and not before.
    @Test(arguments: Trouble.allCases)
    func theWayBackForwardsNothingThatIsNotTranslated(_ trouble: Trouble) async throws {
        _ = try await run(try FakeHost.desired())
        let (state, found) = (host.state, try host.found)
        var change = Change(kernel: host.kernel, files: host.files)
        let off = try await change.prepare(Target())
        _ = try await change.perform(off)
        switch trouble {
        case .restoreFails: host.faults.fail(.restore)
        case .restoreDoesNothing: host.change { $0.idle = [.ipv4, .ipv6] }
        case .restoreOfIPv6DoesNothing: host.change { $0.idle = [.ipv6] }
        case .saveFails: host.faults.fail(.observe)
        }
        for _ in 0..<2 {
            let leftovers = await change.goBack(to: off.before)
            #expect(leftovers.contains { $0.hasPrefix("IPv6: ") }, "\(leftovers)")
            #expect(host.isForwarding == [trouble == .restoreOfIPv6DoesNothing, false])
        }
        host.faults.fail()
        host.change { $0.idle = [] }
        #expect(await change.goBack(to: off.before) == [])
        #expect(try host.state == state && host.found == found && host.leaks.isEmpty)
    }

    /// Somebody has a say on single interfaces, which the switch for all of them takes away.
    @Test func forwardingOfSingleInterfacesComesBack() async throws {
        host.change { machine in
            for family in IPFamily.allCases {
                for (name, value) in [("default", "0"), ("eth0", "0"), ("tun0", "1")] {
                    machine.sysctls["net.\(family.rawValue).conf.\(name).forwarding"] = value
                }
            }
        }
        let before = host.state
        var change = Change(kernel: host.kernel, files: host.files)
        let on = try await change.prepare(Target(try compile(FakeHost.desired().policy, on: try FakeHost.facts())))
        _ = try await change.perform(on)
        #expect(host.sysctl("net.ipv6.conf.default.forwarding") == "1")
        #expect(await change.goBack(to: on.before) == [])
        #expect(try host.state == before && host.found.isEmpty)

        // The same when natfleet goes for good, and when that is taken back.
        _ = try await run(try FakeHost.desired())
        for family in IPFamily.allCases {
            host.change { $0.sysctls["net.\(family.rawValue).conf.eth0.forwarding"] = "0" }
        }
        let apart = host.state
        let off = try await change.prepare(Target())
        _ = try await change.perform(off)
        #expect(try host.state == before && host.found.isEmpty)
        #expect(await change.goBack(to: off.before) == [] && host.state == apart)
        _ = try await run(FakeHost.nothing)
        #expect(host.state == before)
    }

    private func put(_ rule: String, _ family: IPFamily = .ipv4) throws {
        try host.change { try $0.tables[family]?.restore("*filter\n-I FORWARD 1 \(rule)\nCOMMIT\n") }
    }

    /// Also from disk, after a crash.
    @Test func jumpsGoBackToWhereTheyStood() async throws {
        _ = try await run(try FakeHost.desired())
        for rule in ["-j LOG", "-p udp -j DROP"] { try put(rule) }
        try put("-p tcp -j DROP", .ipv6)
        let before = host.state
        let meant = Target(try compile(FakeHost.desired(to: "10.0.1.81:80").policy, on: try FakeHost.facts()))
        var change = Change(kernel: host.kernel, files: host.files)
        let moving = try await change.prepare(meant, jumpsFirst: [.ipv4, .ipv6])
        _ = try await change.perform(moving)
        #expect(host.rules(.ipv4).contains("-A FORWARD -j NATFLEET-FWD\n-A FORWARD -p udp -j DROP"))
        try host.files.save(moving.before, .trial)
        let kept = try #require(try host.files.load(Snapshot.self, .trial))
        #expect(await change.goBack(to: kept) == [])
        #expect(host.state == before)

        // A change that takes them away, and one while others change their rules.
        let off = try await change.prepare(Target())
        _ = try await change.perform(off)
        #expect(await change.goBack(to: off.before) == [] && host.state == before)
        _ = try await change.perform(try await change.prepare(meant, jumpsFirst: [.ipv4, .ipv6]))
        try host.change { try $0.tables[.ipv6]?.restore("*filter\n-D FORWARD -p tcp -j DROP\nCOMMIT\n") }
        #expect(await change.goBack(to: kept) == [])
        #expect(host.rules(.ipv6).contains("-A FORWARD -j NATFLEET-FWD"))
        #expect(before.contains(host.rules(.ipv4)))
    }

    /// Somebody's doing, which the next look would repair.
    @Test func aRepeatedJumpDoesNotKeepFromGoingBack() async throws {
        _ = try await run(try FakeHost.desired())
        let before = host.state
        try put("-j NATFLEET-FWD")
        var change = Change(kernel: host.kernel, files: host.files)
        let prepared = try await change.prepare(Target())
        #expect(await change.goBack(to: prepared.before) == [] && host.state == before)
    }

    @Test func whatCannotBeTakenBackIsSaid() async throws {
        host.faults.fail(.setSysctl)
        await #expect(throws: ChangeFailure.self) { _ = try await run(try FakeHost.desired()) }
        host.faults.fail()
        _ = try await run(try FakeHost.desired())
        host.change { $0.sysctls["net.ipv4.ip_forward"] = "0" }
        host.faults.fail(.setSysctl, .restore)
        let failure = await #expect(throws: ChangeFailure.self) { _ = try await run(FakeHost.nothing) }
        #expect(failure?.description.contains("no") == true)
    }
}
