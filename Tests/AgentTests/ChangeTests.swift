// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: natfleet contributors

import FleetAPI
import NATPolicy
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
                let isNote = step == .turnOff && tried.host.faults.failed == .writeFile
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
