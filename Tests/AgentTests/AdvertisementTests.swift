// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: natfleet contributors

import FleetModel
import NATPolicy
import TestSupport
import Testing

@testable import AgentCore

/// Router advertisements are the kernel's, or those of a network manager that comes after natfleet: it writes 0, and nobody
/// fights over that.
struct AdvertisementTests {
    private static let key = "net.ipv6.conf.eth0.accept_ra"
    private static let settings = "etc/sysctl.d/90-natfleet.conf"
    private let host: FakeHost
    private let disk: FakeDisk

    init() throws {
        host = try FakeHost()
        disk = try FakeDisk(.redHat, of: host)
    }

    private var value: String? { host.sysctl(Self.key) }
    private var isSaved: Bool { disk.machine.text(Self.settings)?.contains("accept_ra") ?? false }

    private func set(_ value: String) { host.change { $0.sysctls[Self.key] = value } }

    @Test func aManagerThatComesAfterTheRestoreAtBootIsLeftAlone() async throws {
        set("0")
        _ = await host.start(persistence: disk).apply(try FakeHost.desired())
        try host.reboot()
        // The kernel's own, before the manager has configured the interface.
        #expect(value == "1")
        #expect(await host.start().restore() && value == "1")
        set("0")
        let report = await host.start(persistence: disk).reconcile()
        #expect(value == "0" && report.status.drift == nil && report.status.conditions.isEmpty)
        #expect(try host.found[Self.key] == nil && !isSaved)
    }

    @Test func aMachineWithoutOneGetsItsSettingBackAtBoot() async throws {
        _ = await host.start(persistence: disk).apply(try FakeHost.desired())
        #expect(value == "2" && isSaved)
        try host.reboot()
        #expect(await host.start().restore() && value == "2")
    }

    @Test func aManagerThatComesAfterTheAgentIsLeftAloneForGood() async throws {
        host.change { $0.generation = 1 }
        let agent = host.start(persistence: disk)
        _ = await agent.apply(try FakeHost.desired())
        #expect(value == "2" && isSaved)
        set("0")
        for look in [Look.glance, .rules, .everything] {
            let report = await agent.reconcile(look)
            #expect(value == "0" && report.status.drift == nil && report.status.conditions.isEmpty)
        }
        #expect(try host.found[Self.key] == nil && !isSaved)
        // And natfleet's leaving does not bring it back.
        _ = await agent.apply(FakeHost.nothing)
        #expect(value == "0")
    }
}
