// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: natfleet contributors

import FleetModel
import Foundation
import TestSupport
import Testing

/// ip6tables fails, does nothing or hangs, wherever the agent uses it in a change: IPv4 stays or is taken back and serves
/// clients all the time, and the instance says which command said what.
@Suite(.enabled("needs root and namespaces") { await FleetLab.isAvailable })
struct FailingProgramSerialTests {
    /// Seconds that a program may take; a minute by default.
    private static let limit = 2

    /// One back end an instance, so that one lab shows both.
    @Test func whateverIp6tablesDoesIPv4GoesOn() async throws {
        try await FleetLab.run { lab in
            let controller = try await lab.startController()
            try await withThrowingTaskGroup(of: Void.self) { group in
                for backEnd in BackEnd.allCases { group.addTask { try await failEverywhere(lab, backEnd) } }
                try await group.waitForAll()
            }
            #expect(controller.isRunning)
        }
    }

    private func failEverywhere(_ lab: FleetLab, _ backEnd: BackEnd) async throws {
        let (host, client, subnet) = backEnd == .nft ? ("nat-a", "client-a", 1) : ("nat-b", "client-b", 2)
        try await lab.use(backEnd, on: host)
        let token = try await lab.joinToken("--instance", host)
        try await lab.writeConfiguration(host, token: token)
        let agent = try HeldAgent(host, lab, settings: ["NATFLEET_COMMAND_SECONDS=\(Self.limit)"]).daemon
        try await lab.apply(
            Policies.egress(
                entry: #"sources: [10.0.0.0/16, "2001:db8:0:100::/56"]"#, selector: "{instances: [\(host)]}"
            ).replacing("{name: egress}", with: "{name: egress-\(host)}"))
        try await lab.converged(host)
        let before = try await lab.state(host, backEnd)
        let traffic = try SteadyTraffic(client, lab)
        for (number, fault) in ProgramFault.all.enumerated() {
            let what = "\(backEnd) \(fault.place) \(fault.way)"
            let port = 81 + number
            try await lab.standIn(on: host, backEnd, fault, newRule: ":\(port)")
            try await lab.apply(Policies.portMapping(host, subnet: subnet, port: port))
            try await expectCondition(lab, host, fault, what)
            // Where it tried again meanwhile, IPv4 waits for IPv6 until that has hung for long enough.
            let seen: (String) -> String = { fault.leavesIPv6 ? fourOnly($0) : $0 }
            var after = ""
            try? await eventually(within: 10, "\(what): \(after)") {
                after = try await lab.state(host, backEnd)
                return seen(after) == seen(before)
            }
            expectSame(seen(before), seen(after), what)
            try await lab.mend(on: host, backEnd)
            #expect(try await lab.natfleet("delete", "policy", "web-\(host)").succeeded)
            try await lab.converged(host)
            expectSame(before, try await lab.state(host, backEnd), "\(what) mended")
        }
        await traffic.expectAllAnswered(atLeast: 50)
        #expect(try await lab.leaks(host) == "ipv4=0 ipv6=0")
        #expect(agent.isRunning, "\(agent.output)")
    }

    private func expectCondition(_ lab: FleetLab, _ host: String, _ fault: ProgramFault, _ what: String) async throws {
        var last: Instance?
        try await eventually(within: 25, "\(what) shows: \(String(describing: last?.status?.conditions))") {
            last = try await lab.instance(host)
            let message = last?.status?.conditions.first { $0.code == "apply-failed" }?.message ?? ""
            // Where taking back needs what fails as well, it goes on until that is mended.
            let isOver = last?.lastOutcome?.hash == last?.desiredHash && last?.lastOutcome?.result == .failed
            return message.contains("not taken back yet") || isOver
        }
        let described = try await lab.natfleet("describe", "instance", host).output
        for part in fault.says(limit: Self.limit) + ["fix: "] {
            #expect(described.contains(part), "\(what): \(part): \(described)")
        }
        #expect(last?.health == .degraded)
        #expect(described.contains("not taken back yet") == fault.keepsFromTakingBack, "\(what): \(described)")
    }

    /// Taking back a change that turned IPv6 off, with a program that says it did and did not: nothing is forwarded that is not
    /// translated, and the instance says so.
    @Test(arguments: BackEnd.allCases)
    func theWayBackForwardsOnlyWhatIsTranslated(backEnd: BackEnd) async throws {
        try await FleetLab.run { lab in
            let host = "nat-a"
            try await lab.use(backEnd, on: host)
            let controller = try await lab.startController()
            try await lab.writeConfiguration(
                host, token: try await lab.joinToken("--instance", host, "--label", "vpc=demo"))
            let agent = try HeldAgent(host, lab)
            try await lab.apply(Policies.egress)
            try await lab.converged(host)
            try await lab.shell(host, "echo 0 >/proc/sys/net/ipv6/conf/lo/forwarding")
            let before = try await lab.state(host, backEnd)
            let traffic = try lab.daemon(
                "client-a", ["bash", "-c", "while sleep 0.01; do echo >/dev/udp/2001:db8:ffff::7/9; done 2>/dev/null"])

            // No IPv4 client gets out, so the trial of a policy without IPv6 fails.
            try await agent.hold(at: "revert") {
                try await lab.shell(host, "iptables -t mangle -A FORWARD -m comment --comment foreign -j DROP")
                try await lab.apply(
                    Policies.egress(entry: "sources: [10.0.0.0/16]").replacing("ipv6: true", with: "ipv6: false"))
            } meanwhile: {
                #expect(try await lab.shell(host, "cat /proc/sys/net/ipv6/conf/all/forwarding") == "0\n")
                try await lab.standIn(
                    on: host, backEnd, ProgramFault(place: .loading, way: .doesNothing), newRule: "none")
                try await lab.shell(host, "iptables -t mangle -D FORWARD 1")
            }
            var shown: [Condition] = []
            try await eventually(within: 20, "it shows: \(shown)") {
                shown = try await lab.instance(host)?.status?.conditions ?? []
                return shown.contains { $0.message.contains("not taken back yet: IPv6: ip6tables-restore ended well") }
            }
            try await Task.sleep(for: .seconds(2))
            #expect(try await lab.shell(host, "cat /proc/sys/net/ipv6/conf/all/forwarding") == "0\n")
            #expect(try await lab.instance(host)?.lastOutcome?.result != .reverted)

            try await lab.mend(on: host, backEnd)
            try await eventually(within: 20, "it is taken back: \(agent.daemon.output)") {
                try await lab.instance(host)?.lastOutcome?.result == .reverted
            }
            expectSame(before, try await lab.state(host, backEnd))
            #expect(try await lab.ask("client-a", "tcp", "2001:db8:ffff::7", 80).hasPrefix("internet saw "))
            #expect(try await lab.leaks(host) == "ipv4=0 ipv6=0")
            await traffic.end()
            #expect(controller.isRunning)
        }
    }

    private func fourOnly(_ state: String) -> String {
        state.components(separatedBy: "ip6tables")[0]
    }
}

/// What a program does instead of its work.
private enum Misbehaviour: String, CaseIterable, Sendable {
    case fails = "echo 'the kernel is out of patience' >&2; exit 1"
    case doesNothing = "exit 0"
    case hangs = "exec sleep 1000"
}

private struct ProgramFault: Sendable {
    /// Where the agent uses ip6tables, in the order of a change, as conditions of a shell.
    enum Place: String, CaseIterable, Sendable {
        case loadingIntoAThrowawayNamespace = "[[ $0 == *restore && $* != *--noflush* ]]"
        case readingTheThrowawayNamespace = "[[ $0 == *save && $* != *-c* ]]"
        case reading = "[[ $0 == *save && $* == *-c* ]]"
        case loading = "[[ $0 == *restore && $* == *--noflush* ]]"
        case readingBack = #"[[ $0 == *save && $* == *-c* ]] && "$real" | grep -q -- "$NEW""#
    }

    var place: Place
    var way: Misbehaviour

    static let all = Place.allCases.flatMap { place in Misbehaviour.allCases.map { ProgramFault(place: place, way: $0) }
    }

    /// Nobody can see what IPv6 holds, so nobody can take it back.
    var leavesIPv6: Bool { place == .readingBack || place == .reading && way == .doesNothing }

    var keepsFromTakingBack: Bool { place == .readingBack }

    /// Which command said what.
    func says(limit: Int) -> [String] {
        let isLoad = place == .loading || place == .loadingIntoAThrowawayNamespace
        let isRehearsal = place == .loadingIntoAThrowawayNamespace || place == .readingTheThrowawayNamespace
        let command =
            isRehearsal
            ? "unshare --net sh -c ip6tables-restore -w 10 && exec ip6tables-save"
            : isLoad ? "ip6tables-restore --noflush --counters -w 10" : "ip6tables-save -c"
        return switch way {
        case .fails: ["\(command): exit status 1: the kernel is out of patience"]
        case .hangs: ["\(command): no end after \(limit).0 seconds"]
        case .doesNothing: ["ip6tables-restore ended well, and ip6tables-save then showed "]
        }
    }
}

extension FleetLab {
    /// /etc is the instance's own, and with it what /usr/sbin/ip6tables-save and -restore lead to.
    fileprivate func standIn(
        on host: String, _ backEnd: BackEnd, _ fault: ProgramFault, newRule: String
    ) async throws {
        let script = """
            #!/bin/bash
            NEW='\(newRule)'
            real=/usr/sbin/ip6tables-\(backEnd.rawValue)-${0##*-}
            if \(fault.place.rawValue); then
                \(fault.way.rawValue)
            fi
            exec "$real" "$@"

            """
        try await exec(
            host, "bash", "-ec",
            """
            for part in save restore; do
                cat <<<"$0" >/etc/stand-in-$part
                chmod 755 /etc/stand-in-$part
                ln -sfn /etc/stand-in-$part /etc/alternatives/ip6tables-$part
            done
            """, script)
    }

    /// natfleet's rules, counters aside, and forwarding, by programs that nothing stands in for.
    fileprivate func state(_ host: String, _ backEnd: BackEnd) async throws -> String {
        try await shell(
            host,
            """
            sysctl net.ipv4.ip_forward net.ipv6.conf.all.forwarding net.ipv6.conf.lo.forwarding
            for p in iptables ip6tables; do
                echo $p
                $p-\(backEnd.rawValue)-save | grep NATFLEET | sed 's/\\[[0-9:]*\\]//'
            done
            """)
    }

    fileprivate func mend(on host: String, _ backEnd: BackEnd) async throws {
        try await use(backEnd, on: host)
    }
}
