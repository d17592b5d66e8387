// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: natfleet contributors

import AgentCore
import Foundation
import NATPolicy
import NetAddress
import TestSupport
import Testing

/// What the probe says of a NAT instance on which one thing is wrong, and that it is quiet otherwise.
@Suite(.enabled("needs root and the lab's programs") { await FleetLab.isAvailable })
struct ProbeSerialTests {
    /// On nat-a clients come in by the interface that they leave by, on nat-c by another one.
    static let places = [("nat-a", BackEnd.nft), ("nat-c", .legacy)]

    /// Something that keeps clients from getting out, and how it is undone.
    private struct Breakage {
        var family: IPFamily
        var make: String
        var mend: String
        /// Of the sentence that names it.
        var words: String
    }

    private static func breakages(_ family: IPFamily) -> [Breakage] {
        let program = family == .ipv4 ? "iptables" : "ip6tables"
        let forwarding = family == .ipv4 ? "net.ipv4.ip_forward" : "net.ipv6.conf.all.forwarding"
        return [
            Breakage(
                family: family, make: "\(program) -I FORWARD -p udp -j DROP", mend: "\(program) -D FORWARD 1",
                words: "clients are not forwarded: rule 1 of chain FORWARD, table filter (\(program)-save) drops them: "
                    + "-A FORWARD -p udp -j DROP"),
            Breakage(
                family: family,
                make: "\(program) -N theirs; \(program) -A theirs -j REJECT; \(program) -I FORWARD -j theirs",
                mend: "\(program) -D FORWARD 1; \(program) -F theirs; \(program) -X theirs",
                words: "rule 1 of chain theirs, table filter (\(program)-save) rejects them: -A theirs -j REJECT"),
            Breakage(
                family: family,
                make: "\(program)-save > /run/all; \(program) -F FORWARD; \(program) -P FORWARD DROP",
                mend: "\(program)-restore < /run/all",
                words: "the policy of chain FORWARD, table filter (\(program)-save) drops them"),
            Breakage(
                family: family, make: "sysctl -qw \(forwarding)=0", mend: "sysctl -qw \(forwarding)=1",
                words: "clients are not forwarded: \(forwarding) is 0"),
            Breakage(
                family: family, make: "\(program)-save > /run/all; \(program) -t nat -F NATFLEET-POST",
                mend: "\(program)-restore < /run/all",
                words: "clients are not translated: \(family == .ipv4 ? "10.0.0.3" : "2001:db8:0:100::3") leaves under"),
        ]
    }

    @Test(arguments: places)
    func everyBreakageIsSeenAndNamedInItsFamilyOnly(host: String, backEnd: BackEnd) async throws {
        try await FleetLab.run { lab in
            try await lab.use(backEnd, on: host)
            let all = IPFamily.allCases.flatMap(Self.breakages)
            let run = ProbeRun(lab: lab, host: host, policy: try ProbeRun.policy())
            let findings = try await run.findings(
                ["apply"] + all.flatMap { ["probe", "sh \($0.make)", "probe", "sh \($0.mend)"] } + ["probe"])
            try #require(findings.count == all.count * 2 + 1)
            for index in stride(from: 0, to: findings.count, by: 2) {
                for family in IPFamily.allCases {
                    #expect(try findings[index].datagram(family).forwarded == .yes)
                    #expect(try findings[index].datagram(family).translated == .yes)
                }
            }
            for (index, breakage) in all.enumerated() {
                let findings = findings[index * 2 + 1]
                #expect(findings.faults.count == 1, "\(breakage.make): \(findings)")
                #expect(try findings.datagram(breakage.family).fault?.contains(breakage.words) == true, "\(findings)")
            }
        }
    }

    @Test(arguments: places)
    func mistypedSourceAndWrongInterfaceServeNobody(host: String, backEnd: BackEnd) async throws {
        try await FleetLab.run { lab in
            try await lab.use(backEnd, on: host)
            let mistyped = SourceChoice.networks([try CIDR("10.10.0.0/16"), try CIDR("2001:db8:0:a00::/56")])
            let run = ProbeRun(lab: lab, host: host, policy: try ProbeRun.policy(sources: mistyped))
            let findings = try #require(try await run.findings(["apply", "probe"]).first)
            #expect(findings.faults.count == 2, "\(findings)")
            for family in IPFamily.allCases {
                let fault = try #require(try findings.datagram(family).fault)
                #expect(fault.contains("natfleet's own guard drops them"))
                #expect(fault.contains("have nothing in common with the VPC"))
            }
            guard host == "nat-c" else { return }
            try await lab.shell(host, "iptables-save | grep -v NATFLEET | iptables-restore")
            try await lab.shell(host, "ip6tables-save | grep -v NATFLEET | ip6tables-restore")
            let wrong = ProbeRun(lab: lab, host: host, policy: try ProbeRun.policy(interface: .named("eth1")))
            let others = try #require(try await wrong.findings(["apply", "probe"]).first)
            #expect(others.faults.count == 2, "\(others)")
            #expect(
                others.faults.allSatisfy { $0.contains("is by eth0, and the entry translates on eth1") }, "\(others)")
        }
    }

    /// As firewalld's: after the policy's own rules accepted the packet, and invisible to iptables.
    @Test
    func tableOfNftablesThatRejectsLaterIsNamed() async throws {
        try await FleetLab.run { lab in
            let table = """
                table inet firewalld { chain filter_FORWARD { type filter hook forward priority filter + 10; \
                ct state established,related accept; reject with icmpx type admin-prohibited; }; }
                """
            let run = ProbeRun(lab: lab, host: "nat-a", policy: try ProbeRun.policy())
            let findings = try #require(
                try await run.findings(["apply", "sh echo '\(table)' | nft -f -", "probe"]).first)
            #expect(findings.faults.count == 2, "\(findings)")
            #expect(findings.faults.allSatisfy { $0.contains("'inet firewalld filter_FORWARD'") }, "\(findings)")
        }
    }

    @Test
    func targetsAnswerRefuseOrStaySilentAndNATIsNotBlamed() async throws {
        try await FleetLab.run { lab in
            let targets = [
                "tcp:198.51.100.7:443", "tcp:[2001:db8:ffff::7]:443", "tcp:198.51.100.7:4444", "tcp:198.51.100.200:443",
            ]
            let run = ProbeRun(lab: lab, host: "nat-a", policy: try ProbeRun.policy(targets: targets))
            let findings = try #require(try await run.findings(["apply", "probe"]).first)
            #expect(findings.faults == [])
            let answered = targets.map { text in findings.first { $0.target?.description == text }?.answered }
            #expect(answered == [.yes, .yes, .no("Connection refused"), .no("no answer within 3 s")], "\(findings)")
            let alone = findings.first { $0.target?.port == 4444 }
            #expect(alone?.answersInstance == .no("Connection refused"))
            #expect(gate(before: [], after: findings) == .passed)
        }
    }

    /// MASQUERADE takes a temporary address where those are preferred, and the facts name none of them.
    @Test
    func temporaryAddressIsOneOfTheInterface() async throws {
        try await FleetLab.run { lab in
            let settings = """
                echo 2 >/proc/sys/net/ipv6/conf/eth0/use_tempaddr
                ip address add 2001:db8:0:100:1::11/64 dev eth0 mngtmpaddr nodad
                until ip -6 address show dev eth0 temporary -tentative | grep -q inet6; do sleep 0.1; done
                """
            try await lab.shell("nat-a", settings)
            let run = ProbeRun(lab: lab, host: "nat-a", policy: try ProbeRun.policy())
            let dump = "conntrack -L -f ipv6 -p udp --orig-port-dst 9 >/run/flows 2>/dev/null"
            let findings = try #require(try await run.findings(["apply", "probe", "sh \(dump)"]).first)
            #expect(findings.faults == [], "\(findings)")
            let seen = try await lab.shell(
                "nat-a",
                """
                address=$(sed 's/.*dst=\\([^ ]*\\) sport.*/\\1/' /run/flows)
                ip -6 address show dev eth0 temporary | grep -c "inet6 $address/"
                """)
            #expect(seen == "1\n", "the kernel took a temporary one")
        }
    }

    /// Of a source of which nobody knows whether it is a subnet or a part of one.
    @Test
    func addressThatSomebodyHasIsGivenUpAndItsOwnerGoesOn() async throws {
        try await FleetLab.run { lab in
            let own = SourceChoice.networks([try CIDR("10.0.1.64/26")])
            let run = ProbeRun(lab: lab, host: "nat-a", policy: try ProbeRun.policy(sources: own))
            let program = try lab.daemon("nat-a", ["bash", "-ec", "exec \(try run.command())"])
            // Strict reverse paths: who has a route elsewhere is not even heard.
            try await lab.shell("nat-a", "echo 1 >/proc/sys/net/ipv4/conf/eth0/rp_filter")
            func answers(_ count: Int) async throws -> [ProbeFinding] {
                var lines: [Substring] = []
                try await eventually(within: 10, "\(count) findings: \(program.output)") {
                    lines = program.output.split(separator: "\n").filter { $0.hasPrefix("[") }
                    return lines.count == count
                }
                return try JSONDecoder().decode([ProbeFinding].self, from: Data(try #require(lines.last).utf8))
            }
            func asked() async throws -> String {
                try await lab.shell(
                    "nat-a", "conntrack -L -p udp --orig-port-dst 9 2>/dev/null | grep -o 'src=10.0.1[^ ]*' | sort -u")
            }
            program.write("apply\nprobe\n")
            #expect(try await answers(1).faults == [])
            #expect(try await asked() == "src=10.0.1.127\n")
            #expect(try await lab.shell("nat-a", "ip route").contains("natfleet-probe") == false)

            // Somebody turns up with it, and never loses a packet to the probe for long.
            try await lab.shell(
                "client-a",
                "ip address add 10.0.1.127/24 dev eth0; ip route add 198.51.100.7 via 10.0.1.1 src 10.0.1.127")
            let owner = try KeptConnection(lab, "client-a", "tcp", "198.51.100.7", 80)
            try await [owner].expectOpen()
            try await lab.shell("nat-a", "conntrack -D -p udp --orig-port-dst 9 >/dev/null 2>&1")
            program.write("probe\n")
            #expect(try await answers(2).faults == [])
            #expect(try await asked() == "src=10.0.1.64\n")
            try await [owner].expectOpen()
            #expect(program.output.contains("gives up its address"), "\(program.output)")
        }
    }

    @Test
    func killedProbeLeavesNothing() async throws {
        try await FleetLab.run { lab in
            let run = ProbeRun(lab: lab, host: "nat-a", policy: try ProbeRun.policy())
            _ = try await run.perform(["apply"])
            let look = "ip -o link | cut -d: -f2; ip route show table all; ip -6 route show table all; ip rule"
            let shown = { try await lab.shell("nat-a", "{ \(look); } | sed 's/ expires.*//' | grep -v multicast") }
            let before = try await shown()
            let during = try await lab.shell(
                "nat-a",
                """
                ( echo probe; exec sleep 30 ) | \(try run.command()) > /run/said &
                until [ -s /run/said ]; do sleep 0.05; done
                ip link show; ip route show; ip -6 route show
                kill -9 $!
                """)
            // Routes to the client are there while it asks.
            #expect(during.contains("\(ProbeInterface.name)@") && !during.contains("dev \(ProbeInterface.name)"))
            try await eventually(within: 5, "all is as before") { try await shown() == before }
        }
    }

    @Test
    func probeCostsNextToNothing() async throws {
        try await FleetLab.run { lab in
            let run = ProbeRun(lab: lab, host: "nat-a", policy: try ProbeRun.policy())
            let line = try #require(try await run.perform(["apply", "cost 100"]).last)
            let processor = try #require(line.split(separator: " ").first.flatMap { Int($0) })
            // Every 30 s: 0.02 % of a core, and that of a debug build.
            #expect(processor < 6_000, "µs a probe: \(line)")
        }
    }
}
