// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: natfleet contributors

import AgentCore
import FleetModel
import NetAddress
import Netfilter
import Testing

@testable import AgentDataplane

/// Whatever a distribution's save does and says: afterwards its files hold what runs, or the report says why not.
struct PersistenceSaveTests {
    struct Way: CustomTestStringConvertible, Sendable {
        var testDescription: String
        var kind = SavingMachine.Kind.redHat
        /// What the notes say about it; empty for no notes.
        var says = ""
        var limit = Duration.seconds(20)
        var arrange: @Sendable (SavingMachine) throws -> Void
    }

    static let ways: [Way] = [
        Way(testDescription: "as it should") { _ in },
        Way(testDescription: "no service command", says: "service is not installed") {
            try $0.remove("usr/sbin/service")
        },
        Way(testDescription: "no legacy actions", says: "supports only basic LSB actions") {
            try $0.remove("usr/libexec/initscripts")
        },
        Way(testDescription: "neither service nor init script", says: "init is not installed") {
            try $0.remove("usr/sbin/service")
            try $0.remove("usr/libexec")
        },
        Way(testDescription: "nothing to save, and 0, under nft", says: "iptables is not there; wrote it") {
            try $0.write("ways", "el7")
        },
        Way(testDescription: "6, the list of tables being empty", says: "exit status 6") {
            try $0.write("ways", "el7")
            try $0.write("proc/net/ip_tables_names", "")
            try $0.write("proc/net/ip6_tables_names", "")
        },
        Way(testDescription: "no restorecon: 1, with the file in place", says: "exit status 1") {
            try $0.remove("usr/sbin/restorecon")
        },
        Way(testDescription: "no restorecon, and a file was there", says: "exit status 1") {
            try $0.remove("usr/sbin/restorecon")
            for name in ["iptables", "ip6tables"] { try $0.write("etc/sysconfig/\(name)", "*filter\nCOMMIT\n") }
        },
        Way(testDescription: "the binary is missing: 5", says: "exit status 5") {
            for name in ["iptables", "ip6tables"] { try $0.remove("usr/sbin/\(name)") }
        },
        Way(testDescription: "not root: 4", says: "exit status 4") { try $0.write("uid", "1000\n") },
        Way(testDescription: "with counters") {
            for name in ["iptables", "ip6tables"] {
                try $0.write("etc/sysconfig/\(name)-config", "\(name.uppercased())_SAVE_COUNTER=\"yes\"\n")
            }
        },
        Way(testDescription: "1", says: "exit status 1") { try $0.write("ways", "fail") },
        Way(testDescription: "0, nothing done", says: "iptables is not there; wrote it") {
            try $0.write("ways", "nothing")
        },
        Way(
            testDescription: "0, nothing done, an old file",
            says: "IPv6: /etc/sysconfig/ip6tables says something else: filter: chain NATFLEET-FWD is missing"
        ) {
            try $0.write("ways", "nothing")
            for name in ["iptables", "ip6tables"] { try $0.write("etc/sysconfig/\(name)", "*filter\nCOMMIT\n") }
        },
        Way(testDescription: "half the file", says: "cannot be understood") { try $0.write("ways", "half") },
        Way(testDescription: "all of ours and half of the others'", says: "does not hold what iptables-save prints") {
            try $0.write("ways", "foreign")
        },
        Way(testDescription: "never an end", says: "no end after", limit: .milliseconds(400)) {
            try $0.write("ways", "hang")
        },
        Way(testDescription: "Debian, as it should", kind: .debian) { _ in },
        Way(testDescription: "Debian, 0, nothing done", kind: .debian, says: "rules.v4 is not there; wrote it") {
            try $0.write("ways", "nothing")
        },
        Way(testDescription: "Debian, half the file", kind: .debian, says: "cannot be understood") {
            try $0.write("ways", "half")
        },
        Way(testDescription: "Debian, an empty file", kind: .debian, says: "is empty") { try $0.write("ways", "fail") },
        Way(testDescription: "Debian, never an end", kind: .debian, says: "no end", limit: .milliseconds(400)) {
            try $0.write("ways", "hang")
        },
    ]

    @Test(arguments: ways)
    func theFilesHoldWhatRuns(_ way: Way) async throws {
        let machine = try SavingMachine(way.kind)
        try way.arrange(machine)
        let wanted = try machine.wanted()
        let report = await machine.persistence(limit: way.limit).save(wanted)
        #expect(report.method == (way.kind == .debian ? .netfilterPersistent : .iptablesServices))
        #expect(report.faults == [] && report.isPersisted)
        #expect(report.notes.isEmpty == way.says.isEmpty)
        #expect(way.says.isEmpty || report.notes.joined().contains(way.says), "\(report.notes)")
        for family in IPFamily.allCases {
            let text = try #require(machine.saved(family, way.kind))
            #expect(SavedRules(text).isSame(as: SavedRules(SavingMachine.kernel(family))))
            if way.kind == .redHat {
                let path = "etc/sysconfig/\(SavingMachine.name(family))"
                #expect(machine.mode(path) == 0o600 && machine.mode("\(path).fallback") == 0o600)
                #expect(machine.text("\(path).fallback") == RuleSaver.mark + text)
            }
        }
        let names = machine.names(in: "etc/sysconfig") + machine.names(in: "etc/iptables")
        #expect(!names.contains { $0.hasSuffix(".new") || $0.contains("tables.X") }, "\(names)")
        #expect(await machine.persistence().check(wanted).faults == [])
    }

    @Test func whatCannotBeSavedIsSaidForEachFamily() async throws {
        let machine = try SavingMachine(.redHat)
        let wanted = try machine.wanted()
        #expect(await machine.persistence().save(wanted).isPersisted)
        let before = machine.saved(.ipv4, .redHat)
        try machine.write("save-fails", "")
        try machine.write("ways", "fail")
        try machine.write("etc/sysconfig/ip6tables", "")
        let report = await machine.persistence().save(wanted)
        #expect(!report.isPersisted && report.faults.map(\.family) == [.ipv4, .ipv6])
        #expect(report.faults.allSatisfy { $0.message.contains("the kernel says no") })
        #expect(machine.saved(.ipv4, .redHat) == before, "the last good one stays")
        #expect(report.conditions.map(\.code) == ["not-persisted", "not-persisted"])
        #expect(report.conditions.map(\.family) == [.ipv4, .ipv6])
        #expect(report.conditions[0].message.contains("IPv4: service iptables save: exit status 1"))
    }

    /// Native nft rules in table nat: `iptables-save` leaves the table out, returns 0, and the distribution saves that.
    @Test func aTableThatIptablesCannotShowIsNotSavedForRight() async throws {
        let machine = try SavingMachine(.redHat)
        let wanted = try machine.wanted()
        #expect(await machine.persistence().save(wanted).isPersisted)
        let text = SavingMachine.kernel(.ipv4)
        try machine.write("kernel.iptables", String(text[try #require(text.firstRange(of: "*filter")).lowerBound...]))
        try machine.write("ways", "native")
        let report = await machine.persistence().save(wanted)
        #expect(!report.isPersisted && report.conditions.map(\.code).contains("not-persisted"))
        #expect(report.faults.first?.message.contains("table nat holds native nft rules") == true, "\(report.faults)")
        #expect(machine.text("etc/sysconfig/iptables.fallback")?.contains("-A NATFLEET-POST") == true)
        // And what was saved wrong is saved again once it can be.
        try machine.write("kernel.iptables", text)
        try machine.remove("ways")
        #expect(await machine.persistence().mend(wanted).isPersisted)
    }

    /// The service loads the last known good where the main file cannot be loaded.
    @Test(arguments: [nil, "these are no rules\n"])
    func theFallbackLoadsWhatRan(_ main: String?) async throws {
        let machine = try SavingMachine(.redHat)
        let wanted = try machine.wanted()
        #expect(await machine.persistence().save(wanted).isPersisted)
        for family in IPFamily.allCases {
            let name = SavingMachine.name(family)
            if let main { try machine.write("etc/sysconfig/\(name)", main) }
            try machine.write("kernel.\(name)", "")
            try await machine.start(family)
            let loaded = try #require(machine.text("kernel.\(name)"))
            #expect(try OwnedState(parsing: loaded) == wanted.rules[family])
            #expect(SavedRules(loaded).isSame(as: SavedRules(SavingMachine.kernel(family))))
        }
    }

    @Test func aFamilyWithoutAnyRuleIsSavedAsSuch() async throws {
        let machine = try SavingMachine(.redHat)
        try machine.write("kernel.ip6tables", "")
        try machine.write("etc/sysconfig/ip6tables", SavingMachine.kernel(.ipv6))
        let report = await machine.persistence().save(try machine.wanted())
        #expect(report.faults == [])
        #expect(machine.saved(.ipv6, .redHat) == "# natfleet-agent: no rules\n")
        #expect(machine.text("etc/sysconfig/ip6tables.save") == SavingMachine.kernel(.ipv6))
    }

    @Test func aMachineWithoutAnyRuleHasEmptyFiles() async throws {
        let machine = try SavingMachine(.debian)
        for family in IPFamily.allCases { try machine.write("kernel.\(SavingMachine.name(family))", "") }
        let report = await machine.persistence().save(try machine.wanted())
        #expect(report.faults == [] && report.notes == [])
        #expect(machine.saved(.ipv4, .debian) == "" && machine.saved(.ipv6, .debian) == "")
    }

    @Test func unitsAreEnabledAndSettingsWritten() async throws {
        let machine = try SavingMachine(.redHat)
        try machine.unit("natfleet-forwarding.service", "loaded disabled inactive")
        let report = await machine.persistence().save(try machine.wanted())
        #expect(report.faults == [])
        for unit in ["iptables", "ip6tables", "natfleet-forwarding"] {
            #expect(machine.text("units/\(unit).service") == "loaded enabled inactive\n")
        }
        let settings = try #require(machine.text("etc/sysctl.d/90-natfleet.conf"))
        #expect(
            settings.split(separator: "\n").filter { !$0.hasPrefix("#") } == [
                "net.ipv4.conf.all.send_redirects = 0", "-net.ipv6.conf.eth0.accept_ra = 2",
                "-net.netfilter.nf_conntrack_buckets = 262144", "-net.netfilter.nf_conntrack_max = 262144",
            ])
        #expect(machine.text("etc/modules-load.d/natfleet.conf")?.hasSuffix("\nnf_conntrack\n") == true)
        #expect(machine.mode("etc/sysctl.d/90-natfleet.conf") == 0o644)
    }

    @Test func aBrokenFileIsKeptForItsOwner() async throws {
        for kind in [SavingMachine.Kind.redHat, .debian] {
            let machine = try SavingMachine(kind)
            let path = kind == .redHat ? "etc/sysconfig/iptables" : "etc/iptables/rules.v4"
            try machine.write(path, "*filter\n-A INPUT -j OTHERS\n")
            let report = await machine.persistence().save(try machine.wanted())
            #expect(report.notes.joined().contains("kept as /\(path).broken"))
            #expect(machine.text("\(path).broken") == "*filter\n-A INPUT -j OTHERS\n")
            #expect(report.isPersisted && report.conditions.map(\.code) == ["restore-failed"])
            try machine.remove("\(path).broken")
            #expect(await machine.persistence().check(try machine.wanted()).faults == [], "its owner has seen it")
        }
    }

    @Test func aFallbackOfSomebodyElseStays() async throws {
        let machine = try SavingMachine(.redHat)
        try machine.write("etc/sysconfig/iptables.fallback", "*filter\nCOMMIT\n")
        let report = await machine.persistence().save(try machine.wanted())
        #expect(report.faults == [] && report.notes.joined().contains("iptables.fallback is not natfleet's"))
        #expect(machine.text("etc/sysconfig/iptables.fallback") == "*filter\nCOMMIT\n")
    }

    @Test func withoutADistributionsSaveOnlySettingsAndUnitCount() async throws {
        let machine = try SavingMachine(.bare)
        let report = await machine.persistence().save(try machine.wanted())
        #expect(
            report.method == .own(reason: "neither iptables-services nor netfilter-persistent is installed")
                && report.faults == [] && report.notes == [])
        #expect(machine.names(in: "etc") == ["modules-load.d", "sysctl.d"])
    }
}
