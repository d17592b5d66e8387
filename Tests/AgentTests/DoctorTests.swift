// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: natfleet contributors

import FleetAPI
import FleetModel
import Foundation
import NATPolicy
import NetAddress
import Netfilter
import Synchronization
import Testing

@testable import AgentCore

/// What doctor and status make of what was read: each fault by itself, on a machine that is well otherwise.
struct DoctorTests {
    private static let now = Date(timeIntervalSince1970: 1_900_000_000)

    /// An instance with a policy, an agent and a controller, all well.
    static func healthy() async throws -> Inspection {
        let host = try FakeHost()
        _ = await host.start().apply(try FakeHost.desired())
        var found = await look(host)
        found.identity = .init(instanceID: "nat-a", starts: now - 3600, expires: now + 3600)
        found.reach = .init(date: now)
        found.conntrack = ConntrackUsage(count: 10, max: 1000, buckets: 1000)
        found.persistence = PersistenceReport(method: .netfilterPersistent)
        return found
    }

    static func look(_ host: FakeHost, agentRunning: Bool = true) async -> Inspection {
        var machinery = Machinery(kernel: host.kernel, flows: host.flows, files: host.files)
        machinery.told = host.told
        return await Inspector(machinery) { family in
            .success([
                family == .ipv4
                    ? "default via 10.0.0.1 dev eth0" : "default via fe80::1 dev eth0 proto ra metric 1024"
            ])
        }.look(now: now, agentRunning: agentRunning, whole: true)
    }

    @Test func aHealthyInstanceIsOk() async throws {
        let report = examine(try await Self.healthy())
        let wrong = report.checks.filter { $0.verdict != .ok || $0.remedy != nil }
        #expect(wrong.isEmpty && report.verdict == .ok)
        #expect(
            report.checks.map(\.title) == [
                "agent", "policy", "IPv4 default route", "IPv4 forwarding", "IPv4 rules", "IPv6 default route",
                "IPv6 router advertisements", "IPv6 forwarding", "IPv6 rules", "back ends", "settings",
                "connection tracking", "clients", "persistence", "controller", "identity", "clock",
            ])
        let rules = try #require(report.checks.first { $0.title == "IPv4 rules" }?.rules)
        let masquerade = try #require(rules.first { $0.rule.contains("MASQUERADE") })
        #expect(masquerade.chain == "NATFLEET-POST" && masquerade.number == 1 && masquerade.packets != nil)
        #expect(rules.contains { $0.chain == "POSTROUTING" && $0.rule == "-j NATFLEET-POST" })
    }

    struct Fault: CustomTestStringConvertible, Sendable {
        let testDescription: String
        let verdict: Check.Verdict
        let says: String
        let spoil: @Sendable (inout Inspection) throws -> Void

        /// - Parameter says: a part of the line and its remedy, as doctor prints them.
        init(
            _ name: String, _ verdict: Check.Verdict, _ says: String,
            _ spoil: @escaping @Sendable (inout Inspection) throws -> Void
        ) {
            (testDescription, self.verdict, self.says, self.spoil) = (name, verdict, says, spoil)
        }
    }

    private static let faults: [Fault] = [
        Fault("agent", .warn, "systemctl start natfleet-agent") { $0.agentRunning = false },
        Fault("agent", .bad, "cannot open") { $0.stateFaults = ["cannot open applied.json"] },
        Fault("policy", .warn, "none was applied yet") { ($0.applied, $0.compiled) = (nil, nil) },
        Fault("policy", .bad, "eth7") { $0.compileFault = "no interface eth7" },
        Fault("policy", .bad, "reverted: clients") { found in
            let desired = try FakeHost.desired()
            let outcome = Outcome(hash: desired.hash, result: .reverted, detail: "clients cannot get out", at: now)
            found.refusal = Refusal(desired: desired, facts: nil, outcome: outcome)
        },
        Fault("trial", .warn, "on trial until") { try trial(&$0) },
        Fault("trial", .bad, "has ended") {
            try trial(&$0)
            $0.agentRunning = false
        },
        Fault("host", .bad, "iptables is not installed") { $0.factsFault = "iptables is not installed" },
        Fault("host", .bad, "interface eth1 is gone") { $0.lost = ["interface eth1 is gone"] },
        Fault("IPv4 default route", .bad, "clients cannot leave") { $0.families[.ipv4]?.routes = .success([]) },
        Fault("IPv6 default route", .bad, "tcpdump -ni any icmp6") { $0.families[.ipv6]?.routes = .success([]) },
        Fault("IPv6 default route", .bad, "ip: no") { $0.families[.ipv6]?.routes = .failure(KernelError("ip: no")) },
        Fault("IPv6 router advertisements", .bad, "so the default route ends") {
            $0.routerAdvertisements = ("eth0", "1")
        },
        Fault("IPv4 forwarding", .bad, "net.ipv4.ip_forward is 0") { $0.families[.ipv4]?.forwarding = "0" },
        Fault("IPv6 forwarding", .bad, "IPv6 is off here") { $0.families[.ipv6]?.forwarding = nil },
        Fault("IPv6 rules", .bad, "POSTROUTING does not enter NATFLEET-POST") {
            try rules(&$0, .ipv6) { $0.nat.jumps.removeAll { $0.from == "POSTROUTING" } }
        },
        Fault("IPv4 rules", .bad, "NATFLEET-POST rule 1: have none") {
            try rules(&$0, .ipv4) { $0.nat.chains["NATFLEET-POST"] = [] }
        },
        Fault("IPv4 rules", .warn, "by its rule 3") {
            try rules(&$0, .ipv4) { $0.nat.jumps[0].position = 3 }
        },
        Fault("IPv4 rules", .bad, "iptables-save: no") {
            $0.families[.ipv4]?.rules = .failure(KernelError("iptables-save: no"))
        },
        Fault("IPv4 rules", .warn, "not compared: unshare") {
            $0.families[.ipv4]?.wanted = .failure(KernelError("unshare: no"))
        },
        Fault("back ends", .bad, "iptables-legacy holds rules too: IPv4 nat POSTROUTING") {
            $0.facts?.iptables.otherRules = ["IPv4 nat POSTROUTING"]
        },
        Fault("settings", .bad, "net.ipv4.conf.all.send_redirects is 1, wanted 0") {
            $0.settings = [.init(key: "net.ipv4.conf.all.send_redirects", wanted: "0", found: "1")]
        },
        Fault("connection tracking", .warn, "800 of 1000 connections, 80 %") { $0.conntrack?.count = 800 },
        Fault("connection tracking", .bad, "spec.conntrack.max") { $0.conntrack?.count = 950 },
        Fault("connection tracking", .bad, "modprobe nf_conntrack") { $0.conntrack = nil },
        Fault("data path", .bad, "clients are not forwarded") {
            $0.findings = [
                ProbeFinding(family: .ipv4, masquerade: "web/egress", forwarded: .no("dropped"), translated: .yes)
            ]
        },
        Fault("data path", .warn, "connect from a real client") {
            $0.findings = [ProbeFinding(.ipv4, "web/egress", all: .unasked("no address is known to be nobody's"))]
        },
        Fault("persistence", .bad, "rules.v4 is empty") {
            $0.persistence?.faults = [.init(.forwardsAtBoot, "x.conf:1"), .init(.rules, "rules.v4 is empty")]
        },
        Fault("persistence", .warn, "x.conf:1") { $0.persistence?.faults = [.init(.forwardsAtBoot, "x.conf:1")] },
        Fault("configuration", .bad, "NATFLEET_CA_HASH") { $0.configurationFault = "NATFLEET_CA_HASH is missing" },
        Fault("controller", .bad, "check the resolver") {
            $0.reach = .init(fault: "no such host", remedy: "check the resolver", date: now)
        },
        Fault("identity", .warn, "natfleet token create") { $0.identity = nil },
        Fault("identity", .bad, "ended 2030-03-17T17:46:39Z") { $0.identity?.expires = now - 1 },
        Fault("identity", .bad, "the clock: it is behind") { $0.identity?.starts = now + 1 },
        Fault("clock", .warn, "is 30 s ahead of the controller's") { $0.reach?.date = now - 30 },
        Fault("clock", .bad, "is 300 s behind the controller's") { $0.reach?.date = now + 300 },
        Fault("clock", .warn, "no time service keeps it") { ($0.reach, $0.isClockKept) = (nil, false) },
    ]

    @Test(arguments: faults)
    func aFaultShowsWithItsRemedyAndNothingElse(fault: Fault) async throws {
        var found = try await Self.healthy()
        try fault.spoil(&found)
        let report = examine(found)
        let wrong = report.checks.filter { $0.verdict != .ok && $0.title == fault.testDescription }
        let check = try #require(wrong.first)
        #expect(check.verdict == fault.verdict && wrong.count == 1)
        let remedy = try #require(check.remedy)
        #expect("\(check.message) \(remedy) \(check.details)".contains(fault.says), "\(check)")
        #expect(report.verdict >= fault.verdict)
        #expect(report.text().contains("fix: \(remedy)"))
        // Without a policy nothing else is expected of the machine either.
        let others = report.checks.filter { $0.verdict != .ok && $0.title != fault.testDescription }.map(\.title)
        let related = ["agent", "policy", "IPv4 rules", "IPv6 rules", "back ends"]
        #expect(others.allSatisfy(related.contains), "\(others)")
    }

    @Test(arguments: [
        ("0", "default via fe80::1 dev eth0 proto ra metric 1024", true),
        ("0", "default via fe80::1 dev eth0", true),
        ("2", "default via fe80::1 dev eth0 proto ra metric 1024", true),
        ("1", "default via fe80::1 dev eth0 proto static", true),
        ("1", "default via fe80::1 dev eth0 proto ra metric 1024", false),
        ("1", "", false),
    ])
    func routerAdvertisementsCountWhereTheRouteComesFromThem(value: String, route: String, isRight: Bool) async throws {
        var found = try await Self.healthy()
        found.routerAdvertisements = ("eth0", value)
        found.families[.ipv6]?.routes = .success(route.isEmpty ? [] : [route])
        let check = try #require(routerAdvertisementChecks(found).first)
        #expect((check.verdict == .ok) == isRight, "\(check)")
        found.families[.ipv6]?.forwarding = "0"
        #expect(routerAdvertisementChecks(found).first?.verdict == .ok, "while it does not forward, any value does")
    }

    @Test func aMachineWithoutPolicyThatForwardsIsAWarning() async throws {
        let host = try FakeHost()
        host.change { $0.sysctls["net.ipv4.ip_forward"] = "1" }
        let report = examine(await Self.look(host))
        let check = try #require(report.checks.first { $0.title == "IPv4 forwarding" })
        #expect(check.verdict == .warn && check.message.contains("may leave untranslated"))
        #expect(report.checks.first { $0.title == "IPv6 forwarding" }?.verdict == .ok)
    }

    @Test func theProbeIsNoClientAndWhoeverHasItsAddressIsOne() async throws {
        let host = try FakeHost()
        _ = await host.start().apply(try FakeHost.desired())
        let own = try TrackedFlow("udp 10.0.0.3:4000 192.0.2.1:9 192.0.2.1:9 10.0.0.11:4000")
        host.flows.flows.withLock { $0 = [own] }
        #expect(await Self.look(host).clients == 0)
        let client = try TrackedFlow("tcp 10.0.0.3:4000 198.51.100.7:443 198.51.100.7:443 10.0.0.11:4000")
        host.flows.flows.withLock { $0 = [own, client] }
        #expect(await Self.look(host).clients == 1)
    }

    @Test func whatMayNotBeReadIsNotCalledMissing() async throws {
        let host = try FakeHost()
        _ = await host.start().apply(try FakeHost.desired())
        host.faults.fail(.readFile)
        let found = await Self.look(host)
        let policy = try #require(examine(found).checks.first { $0.name == "policy" })
        #expect(policy.verdict == .warn && policy.message.hasPrefix("not known"))
        let status = AgentStatus(found)
        #expect(status.state == .unknown && status.table.first { $0.what == "policy" }?.how == "not known")
    }

    @Test func lookingChangesNothing() async throws {
        let host = try FakeHost()
        _ = await host.start().apply(try FakeHost.desired())
        host.change { $0.sysctls["net.ipv4.ip_forward"] = "0" }
        let (state, files) = (host.state, host.files.contents.withLock { $0 })
        _ = host.touched()
        _ = examine(await Self.look(host))
        #expect(host.touched().isEmpty && host.state == state && host.files.contents.withLock { $0 } == files)
    }

    @Test func longRulesAreCutForPeopleOnly() async throws {
        let report = examine(try await Self.healthy())
        let rules = try #require(report.checks.first { $0.title == "IPv4 rules" }?.rules)
        let text = report.text(ruleLimit: 2)
        #expect(text.contains("and \(rules.count - 2) more: iptables -t nat -L -n -v --line-numbers"))
        #expect(text.hasSuffix("17 ok\n"))
        #expect(report.text().contains("table   chain          num  pkts  bytes  rule"))
    }

    @Test func machinesReadStableKeys() async throws {
        var found = try await Self.healthy()
        found.families[.ipv4]?.forwarding = "0"
        let data = try WireJSON.encode(examine(found))
        #expect(try WireJSON.decode(DoctorReport.self, from: data) == examine(found))
        let text = String(decoding: data, as: UTF8.self)
        #expect(
            text.contains(#""family":"ipv4","message":"net.ipv4.ip_forward is 0"#)
                && text.hasSuffix(#""verdict":"bad"}"#))
    }

    // MARK: Status

    private static let states: [(AgentStatus.State, @Sendable (inout Inspection) throws -> Void)] = [
        (.applied, { _ in }),
        (.idle, { ($0.applied, $0.compiled, $0.families) = (nil, nil, [:]) }),
        (.trying, { try trial(&$0) }),
        (.differs, { $0.families[.ipv6]?.forwarding = "0" }),
        (.differs, { try rules(&$0, .ipv4) { $0.nat.jumps = [] } }),
        (.unknown, { $0.stateFaults = ["cannot open"] }),
        (.unknown, { $0.families[.ipv4]?.rules = .failure(KernelError("no")) }),
    ]

    @Test(arguments: states)
    func statusIsWhatWasRead(
        state: AgentStatus.State, spoil: @Sendable (inout Inspection) throws -> Void
    ) async throws {
        var found = try await Self.healthy()
        try spoil(&found)
        let status = AgentStatus(found)
        #expect(status.state == state, "\(status)")
        #expect(status.table.first?.how.hasPrefix(state.rawValue) == true)
        #expect(try WireJSON.decode(AgentStatus.self, from: WireJSON.encode(status)) == status)
    }

    @Test func statusNamesPolicyAndTime() async throws {
        let status = AgentStatus(try await Self.healthy())
        let confirmed = try #require(status.confirmedAt)
        #expect(abs(confirmed.timeIntervalSinceNow) < 60)
        #expect(status.table.first { $0.what == "policy" }?.how == "web revision 1")
        #expect(status.ipv4?.forwarding == true && status.ipv4?.rules == 7 && status.ipv4?.differences == [])
    }
}

private func trial(_ found: inout Inspection) throws {
    let before = Snapshot(rules: [:], sysctls: [:], found: [:])
    found.trial = TrialJournal(
        desired: try FakeHost.desired(to: "10.0.1.81:80"), facts: try FakeHost.facts(),
        deadline: Date(timeIntervalSince1970: 1_900_000_100), bootID: "boot 1", before: before)
}

private func rules(_ found: inout Inspection, _ family: IPFamily, _ change: (inout OwnedState) -> Void) throws {
    var rules = try #require(try found.families[family]?.rules.get())
    change(&rules)
    found.families[family]?.rules = .success(rules)
}
