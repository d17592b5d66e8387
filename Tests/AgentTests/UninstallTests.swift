// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: natfleet contributors

import NATPolicy
import NetAddress
import Netfilter
import Synchronization
import Testing

@testable import AgentCore

/// Off the machine as if natfleet had never been there, in an order that never leaks, whatever fails on the way.
struct UninstallTests {
    private let host: FakeHost
    private let before: [String]

    init() throws {
        host = try FakeHost()
        before = host.state
    }

    private func uninstall(keepNAT: Bool = false, keepIdentity: Bool = false) async -> UninstallReport {
        let machinery = Machinery(kernel: host.kernel, flows: host.flows, files: host.files)
        return await Uninstall(machinery) { nil }.run(keepNAT: keepNAT, keepIdentity: keepIdentity)
    }

    private var filesLeft: Set<StateFile> { Set(host.files.contents.withLock { $0.keys }) }

    /// Others may have saved rules of their own: whoever enabled the units, it is not for natfleet to turn them off.
    @Test func unitsThatLoadSavedRulesAreNamed() async throws {
        let disk = try FakeDisk(.redHat, of: host)
        _ = await host.start(persistence: disk).apply(try FakeHost.desired())
        #expect(disk.machine.text("units/iptables.service") == "loaded enabled inactive\n")
        var machinery = Machinery(kernel: host.kernel, flows: host.flows, files: host.files, persistence: disk)
        let report = await Uninstall(machinery) { nil }.run(keepNAT: false, keepIdentity: false)
        #expect(report.failures.isEmpty && host.state == before)
        #expect(
            report.left == [
                "iptables.service and ip6tables.service, enabled, with the rules of others that were saved: where nobody "
                    + "needs them, systemctl disable iptables.service ip6tables.service"
            ])
        machinery.persistence = try FakeDisk(.bare, of: host)
        let again = await Uninstall(machinery) { nil }.run(keepNAT: false, keepIdentity: false)
        #expect(again.left.isEmpty)
    }

    @Test func everythingIsAsItWasFound() async throws {
        _ = await host.start().apply(try FakeHost.desired())
        try host.files.write(.identity, [1])
        _ = host.touched()
        let report = await uninstall()
        #expect(report.failures.isEmpty && report.left.isEmpty, "\(report)")
        #expect(host.state == before && filesLeft.isEmpty && host.leaks.isEmpty)
        #expect(report.removed.contains("net.ipv4.ip_forward is 0 again"))
        #expect(report.removed.contains { $0.hasPrefix("IPv6: ") && $0.contains("rules in") })
        let touched = host.touched()
        #expect(touched.first == "net.ipv4.ip_forward=0", "\(touched)")

        let again = await uninstall()
        #expect(again.removed.isEmpty && again.failures.isEmpty && host.touched().isEmpty, "\(again)")
    }

    @Test func theSizeOfConnectionTrackingGoesBack() async throws {
        _ = await host.start().apply(try FakeHost.desired())
        try host.files.save(ConntrackSize(max: 7680, buckets: 8192), .conntrack)
        #expect(await uninstall().failures.isEmpty && filesLeft.isEmpty)
        #expect(host.sysctl(ConntrackSize.maxKey) == "7680" && host.sysctl(ConntrackSize.bucketsKey) == "8192")
    }

    @Test func forwardingThatWasOnStaysAndIsSaid() async throws {
        host.change { $0.sysctls["net.ipv4.ip_forward"] = "1" }
        _ = await host.start().apply(try FakeHost.desired())
        let report = await uninstall()
        #expect(host.sysctl("net.ipv4.ip_forward") == "1" && host.sysctl("net.ipv6.conf.all.forwarding") == "0")
        #expect(
            report.left == [
                "net.ipv4.ip_forward is 1, as natfleet found it: this host forwards without natfleet's rules"
            ])
    }

    @Test func aTrialThatWasLeftGoesToo() async throws {
        let agent = host.start()
        _ = await agent.apply(try FakeHost.desired())
        var machine = TrialMachine()
        // Up to the proof, then the agent is gone.
        for action in machine.handle(.offered(try FakeHost.desired(to: "10.0.1.81:80")), now: 0) {
            if case .perform(let step) = action { _ = await agent.perform(step) }
        }
        for step in [TrialStep.test, .arm(seconds: 60), .apply] { _ = await agent.perform(step) }
        #expect(filesLeft.contains(.trial) && host.rules(.ipv4).contains("10.0.1.81"))

        let refused = await uninstall(keepNAT: true)
        #expect(refused.failures.first?.contains("on trial") == true && filesLeft.contains(.applied))
        let report = await uninstall()
        #expect(report.failures.isEmpty && host.state == before && filesLeft.isEmpty && host.leaks.isEmpty)
    }

    @Test(arguments: [false, true])
    func translationGoesOnWithoutTheAgent(keepIdentity: Bool) async throws {
        _ = await host.start().apply(try FakeHost.desired())
        try host.files.write(.identity, [1])
        let state = host.state
        _ = host.touched()
        let report = await uninstall(keepNAT: true, keepIdentity: keepIdentity)
        #expect(report.failures.isEmpty && host.state == state && host.touched().isEmpty)
        #expect(filesLeft == (keepIdentity ? [.identity] : []))
        #expect(
            report.left.first?.contains("rules in") == true && report.left.first?.hasSuffix("forwarding on") == true)
    }

    /// Each operation fails once: either nothing of natfleet's runs any more or all of it does, and the next try ends it.
    @Test func whatFailsIsSaidAndTheNextTryGoesOn() async throws {
        var number = 0
        while true {
            number += 1
            let host = try FakeHost()
            let before = host.state
            _ = await host.start().apply(try FakeHost.desired())
            let running = host.state
            let machinery = Machinery(kernel: host.kernel, flows: host.flows, files: host.files)
            host.faults.failOnce(at: number)
            let report = await Uninstall(machinery) { nil }.run(keepNAT: false, keepIdentity: false)
            let isOver = host.faults.count < number
            host.faults.failOnce(at: nil)
            #expect(host.state == running || host.state == before, "operation \(number)")
            #expect(host.leaks.isEmpty, "operation \(number): \(host.leaks)")
            let second = await Uninstall(machinery) { nil }.run(keepNAT: false, keepIdentity: false)
            #expect(second.failures.isEmpty && host.state == before, "operation \(number): \(report) \(second)")
            #expect(host.files.contents.withLock { $0.isEmpty }, "operation \(number)")
            if isOver { break }
        }
        #expect(number > 20)
    }
}
