// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: natfleet contributors

import AgentCore
import NetAddress
import Netfilter
import Testing

@testable import AgentDataplane

/// What was saved and is not as it was, or would be undone, shows; and goes away when the agent is removed.
struct PersistenceCheckTests {
    struct Harm: CustomTestStringConvertible, Sendable {
        var testDescription: String
        var kind = PersistenceFault.Kind.rules
        /// The fault's whole text, or its beginning.
        var says: String
        /// Whether saving again mends it.
        var isMended = true
        var arrange: @Sendable (SavingMachine) throws -> Void
    }

    static let harms: [Harm] = [
        Harm(testDescription: "file gone", says: "IPv4: /etc/sysconfig/iptables is not there") {
            try $0.remove("etc/sysconfig/iptables")
        },
        Harm(testDescription: "file empty", says: "IPv6: /etc/sysconfig/ip6tables is empty") {
            try $0.write("etc/sysconfig/ip6tables", "\n")
        },
        Harm(
            testDescription: "file cut off", says: "IPv4: /etc/sysconfig/iptables cannot be understood: line",
            isMended: false
        ) {
            try $0.write("etc/sysconfig/iptables", String(SavingMachine.kernel(.ipv4).dropLast(120)))
        },
        Harm(
            testDescription: "old file",
            says: "IPv4: /etc/sysconfig/iptables says something else: nat: NATFLEET-POST rule 1: have -A"
        ) {
            try $0.write("etc/sysconfig/iptables", SavingMachine.kernel(.ipv4).replacing("eth0", with: "eth1"))
        },
        Harm(
            testDescription: "jump deleted", says: "IPv4: /etc/sysconfig/iptables says something else: filter: FORWARD"
        ) {
            let text = SavingMachine.kernel(.ipv4).replacing("-A FORWARD -j NATFLEET-FWD\n", with: "")
            try $0.write("etc/sysconfig/iptables", text)
        },
        Harm(testDescription: "settings edited", kind: .settings, says: "/etc/sysctl.d/90-natfleet.conf does not hold")
        {
            try $0.write("etc/sysctl.d/90-natfleet.conf", "net.ipv4.conf.all.send_redirects = 1\n")
        },
        Harm(testDescription: "modules gone", kind: .settings, says: "/etc/modules-load.d/natfleet.conf does not hold")
        {
            try $0.remove("etc/modules-load.d/natfleet.conf")
        },
        Harm(testDescription: "unit off", kind: .unit, says: "ip6tables.service is not enabled") {
            try $0.unit("ip6tables.service", "loaded disabled active")
        },
        Harm(testDescription: "own unit off", kind: .unit, says: "natfleet-forwarding.service is not enabled") {
            try $0.unit("natfleet-forwarding.service", "loaded disabled active")
        },
        Harm(
            testDescription: "own unit missing", kind: .unit, says: "natfleet-forwarding.service is missing",
            isMended: false
        ) { try $0.remove("units/natfleet-forwarding.service") },
        Harm(
            testDescription: "own unit masked", kind: .unit, says: "natfleet-forwarding.service is masked",
            isMended: false
        ) { try $0.unit("natfleet-forwarding.service", "masked masked inactive") },
        Harm(
            testDescription: "the restore failed", kind: .restoreFailed, says: "iptables.service failed",
            isMended: false
        ) { try $0.unit("iptables.service", "loaded enabled failed") },
        Harm(
            testDescription: "saves on stop", kind: .savesOnStop,
            says: "IPv6: /etc/sysconfig/ip6tables-config has IP6TABLES_SAVE_ON_STOP=yes", isMended: false
        ) {
            let text = "IP6TABLES_SAVE_ON_STOP=\"no\"\nIP6TABLES_SAVE_ON_STOP=\"yes\" # at night\n"
            try $0.write("etc/sysconfig/ip6tables-config", text)
        },
        Harm(
            testDescription: "saves on restart", kind: .savesOnStop,
            says: "IPv4: /etc/sysconfig/iptables-config has IPTABLES_SAVE_ON_RESTART=yes", isMended: false
        ) { try $0.write("etc/sysconfig/iptables-config", "IPTABLES_SAVE_ON_RESTART='yes'\n") },
        Harm(
            testDescription: "the seed's sysctl.conf", kind: .forwardsAtBoot,
            says: "/etc/sysctl.conf:2 sets net.ipv4.ip_forward = 1", isMended: false
        ) {
            try $0.write("etc/sysctl.conf", "# NAT\nnet.ipv4.ip_forward=1\n")
            try $0.write("etc/sysctl.d/99-sysctl.conf", "# NAT\nnet.ipv4.ip_forward=1\n")
        },
        Harm(
            testDescription: "AWS's recipe", kind: .forwardsAtBoot,
            says: "/etc/sysctl.d/custom-ip-forwarding.conf:1 sets net.ipv4.ip_forward = 1", isMended: false
        ) { try $0.write("etc/sysctl.d/custom-ip-forwarding.conf", "net.ipv4.ip_forward=1") },
        Harm(
            testDescription: "ufw's own settings", kind: .forwardsAtBoot,
            says: "/etc/ufw/sysctl.conf:2 sets net.ipv6.conf.all.forwarding = 1", isMended: false
        ) {
            try $0.write("etc/ufw/ufw.conf", "ENABLED=yes\n")
            try $0.write("etc/default/ufw", "IPT_SYSCTL=/etc/ufw/sysctl.conf\n")
            try $0.write("etc/ufw/sysctl.conf", "#net/ipv4/ip_forward=1\nnet/ipv6/conf/all/forwarding=1\n")
        },
        Harm(
            testDescription: "the seed's IPv6 forwarding", kind: .forwardsAtBoot,
            says: "/etc/sysconfig/network has IPV6FORWARDING=yes", isMended: false
        ) { try $0.write("etc/sysconfig/network", "NETWORKING=yes\nIPV6FORWARDING=yes\n") },
        Harm(
            testDescription: "a network of networkd", kind: .forwardsAtBoot,
            says: "/etc/systemd/network/10-eth0.network:4 sets IPForward = ipv4", isMended: false
        ) {
            try $0.unit("systemd-networkd.service", "loaded enabled active")
            try $0.write("usr/lib/systemd/network/10-eth0.network", "[Network]\nIPForward=yes\n")
            try $0.write("etc/systemd/network/10-eth0.network", "[Match]\nName=eth0\n[Network]\nIPForward = ipv4\n")
        },
        Harm(
            testDescription: "an addition to it", kind: .forwardsAtBoot,
            says: "/run/systemd/network/10-eth0.network.d/nat.conf:2 sets IPv6Forwarding = true", isMended: false
        ) {
            try $0.unit("systemd-networkd.service", "loaded enabled active")
            try $0.write("run/systemd/network/10-eth0.network.d/nat.conf", "[Network]\nIPv6Forwarding=true\n")
            try $0.write("etc/systemd/networkd.conf", "[Network]\n#IPv4Forwarding=yes\nIPv6Forwarding=no\n")
        },
        Harm(
            testDescription: "networkd as a whole", kind: .forwardsAtBoot,
            says: "/etc/systemd/networkd.conf:2 sets IPv4Forwarding = 1", isMended: false
        ) {
            try $0.unit("systemd-networkd.service", "loaded enabled active")
            try $0.write("etc/systemd/networkd.conf", "[Network]\nIPv4Forwarding=1\n")
        },
        Harm(
            testDescription: "no systemd", kind: .noUnits,
            says: "nothing restores the rules at boot: this machine is not run by systemd", isMended: false
        ) { try $0.leaveSystemd() },
    ]

    @Test func networkdThatDoesNotRunDoesNotForward() async throws {
        let machine = try SavingMachine(.redHat)
        try machine.write("etc/systemd/networkd.conf", "[Network]\nIPv4Forwarding=1\n")
        #expect(await machine.persistence().save(try machine.wanted()).faults == [])
    }

    @Test(arguments: harms)
    func harmShowsAndIsMended(_ harm: Harm) async throws {
        let machine = try SavingMachine(.redHat)
        let (persistence, wanted) = (machine.persistence(), try machine.wanted())
        #expect(await persistence.save(wanted).faults == [])
        try harm.arrange(machine)
        let report = await persistence.check(wanted)
        #expect(report.faults.map(\.kind) == [harm.kind])
        #expect(report.faults.first.map { "\($0)".hasPrefix(harm.says) } == true, "\(report.faults)")
        #expect(report.isPersisted == [.savesOnStop, .forwardsAtBoot, .restoreFailed, .noUnits].contains(harm.kind))
        #expect(await persistence.save(wanted).faults.isEmpty == harm.isMended)
        #expect(await persistence.check(wanted).faults.isEmpty == harm.isMended)
    }

    @Test func anotherPolicyIsNotWhatWasSaved() async throws {
        let machine = try SavingMachine(.debian)
        var wanted = try machine.wanted()
        #expect(await machine.persistence().save(wanted).isPersisted)
        wanted.rules[.ipv6] = OwnedState.none
        wanted.conntrack = nil
        let report = await machine.persistence().check(wanted)
        #expect(report.faults.map(\.kind) == [.rules, .settings, .settings])
        #expect(report.faults.map(\.family) == [.ipv6, nil, nil])
    }

    @Test func checkingChangesNothing() async throws {
        let machine = try SavingMachine(.redHat)
        let report = await machine.persistence().check(try machine.wanted())
        #expect(report.faults.map(\.kind) == [.rules, .rules, .settings, .settings, .unit, .unit])
        #expect(machine.names(in: "etc/sysconfig") == ["ip6tables-config", "iptables-config"])
        #expect(machine.text("units/iptables.service") == "loaded disabled inactive\n")
    }

    @Test func aSystemdThatDoesNotAnswerIsAFault() async throws {
        let machine = try SavingMachine(.redHat)
        try machine.write("units/broken", "")
        let report = await machine.persistence().save(try machine.wanted())
        #expect(report.faults.map(\.kind) == [.unit])
        #expect(report.faults.first?.message.contains("Failed to connect to bus") == true)
    }

    @Test func aUnitThatCannotBeEnabledIsAFaultWithItsReason() async throws {
        let machine = try SavingMachine(.redHat)
        try machine.write("units/readonly", "")
        let report = await machine.persistence().save(try machine.wanted())
        #expect(
            report.faults.map(\.message) == ["iptables.service is not enabled", "ip6tables.service is not enabled"])
        #expect(report.notes.joined().contains("Read-only file system"))
    }

    @Test func removingLeavesTheRulesOfOthers() async throws {
        for kind in [SavingMachine.Kind.redHat, .debian, .bare] {
            let machine = try SavingMachine(kind)
            #expect(await machine.persistence().save(try machine.wanted()).isPersisted)
            #expect(await machine.persistence().remove() == [])
            for family in IPFamily.allCases where kind != .bare {
                let text = try #require(machine.saved(family, kind))
                let others = SavingMachine.kernel(family).split(separator: "\n").filter { !$0.contains("NATFLEET") }
                #expect(SavedRules(text).isSame(as: SavedRules(others.joined(separator: "\n"))))
            }
            let names = ["sysconfig", "iptables", "sysctl.d", "modules-load.d"].flatMap {
                machine.names(in: "etc/\($0)")
            }
            #expect(!names.contains { $0.contains("natfleet") || $0.contains("fallback") }, "\(names)")
            #expect(machine.text("units/natfleet-forwarding.service") == "loaded disabled active\n")
            #expect(await machine.persistence().remove() == [], "once more")
        }
    }
}
