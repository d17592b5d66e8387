// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: natfleet contributors

import AgentCore
import AgentNetlink
import Foundation
import NetAddress
import TestSupport
import Testing

/// What the kernel announces, and the generation of the ruleset.
@Suite(.enabled("needs root, iptables, conntrack and namespaces") { await Netns.canRun() })
struct EventsSerialTests {
    @Test func generationGrowsWithChangesAndOnlyThen() async throws {
        try await Netns.with { net in
            func generation() async throws -> UInt32? { try await net.inside("router") { rulesetGeneration() } }
            var last = try #require(try await generation())
            for quiet in [
                "iptables-nft-save; ip6tables-nft-save; iptables-nft -t nat -L -n; iptables-nft -C FORWARD -j DROP || true",
                "iptables-legacy -t nat -A POSTROUTING -j MASQUERADE; iptables-legacy -t nat -F",
                "ip address add 10.9.9.9/32 dev lo; sysctl -qw net.ipv4.ip_forward=1",
                "unshare --net iptables-nft -A INPUT -j ACCEPT",
            ] {
                try await net.run("router", quiet)
                #expect(try await generation() == last, "\(quiet)")
            }
            for change in [
                "iptables-nft -A INPUT -j ACCEPT", "iptables-nft -D INPUT -j ACCEPT", "ip6tables-nft -t nat -N OTHER",
                "printf \"*nat\\n:X - [0:0]\\nCOMMIT\\n\" | iptables-nft-restore --noflush", "iptables-nft -F FORWARD",
            ] {
                try await net.run("router", change)
                let now = try #require(try await generation())
                #expect(now != last, "\(change)")
                last = now
            }
        }
    }

    @Test func chainsAtHooksAreListedAndOthersNot() async throws {
        try await Netns.with { net in
            let before = try await net.inside("router") { try nftChains() }
            let table = """
                table inet firewalld { chain filter_FORWARD { type filter hook forward priority filter + 10; }; \
                chain filter_INPUT { type filter hook input priority filter; }; chain aside { }; }; \
                table bridge b { chain f { type filter hook forward priority 0; }; }
                """
            try await net.run("router", "ip6tables-nft -t nat -A POSTROUTING -j ACCEPT; echo '\(table)' | nft -f -")
            let chains = try await net.inside("router") { try nftChains() }
            let new = Set(chains).subtracting(before).map(\.description).sorted()
            #expect(new == ["inet firewalld filter_FORWARD", "ip6 nat POSTROUTING"])
            #expect(NftChain.passed(chains, .ipv6) == ["inet firewalld filter_FORWARD"])
        }
    }

    @Test func whatChangesIsTold() async throws {
        try await Netns.with { net in
            let lock = lockFile()
            defer { unlink(lock) }
            let news = try await net.inside("router") { try networkNews(lock: lock) }
            let log = EventLog()
            let reader = Task { for await event in news.events { await log.add(event) } }
            for (change, expected) in [
                ("true", []),
                ("iptables-nft-save; iptables-nft -L -n; ip route", []),
                ("iptables-nft -A INPUT -j ACCEPT", [.ruleset]),
                ("ip6tables-nft -t nat -N OTHER", [.ruleset]),
                ("ip address add 10.9.9.9/32 dev eth0", [.network]),
                (
                    "ip address add 2001:db8:9::9/64 dev eth0 nodad valid_lft 990 preferred_lft 890 noprefixroute",
                    [.network]
                ),
                // As a router advertisement does.
                ("ip address change 2001:db8:9::9/64 dev eth0 nodad valid_lft 900 preferred_lft 800 noprefixroute", []),
                (
                    "ip address change 2001:db8:9::9/64 dev eth0 nodad valid_lft 900 preferred_lft 0 noprefixroute",
                    [.network]
                ),
                ("ip address del 2001:db8:9::9/64 dev eth0", [.network]),
                ("ip route add 192.0.2.0/24 via 198.51.100.7", [.network]),
                ("ip -6 route add 2001:db8:77::/64 via 2001:db8:2::7", [.network]),
                ("ip link add veth7 type veth peer name veth8", [.network]),
                (
                    "ip link add natfleet-probe type veth peer name veth9; ip link set natfleet-probe up; ip link set veth9 up; sleep 0.3",
                    [.network]
                ),
                // As the probe does, each time that it asks.
                ("ip route add 10.9.9.9/32 dev natfleet-probe; ip route del 10.9.9.9/32", []),
                ("ip -6 route add 2001:db8:9::9/128 dev natfleet-probe; ip -6 route del 2001:db8:9::9/128", []),
                ("iptables-nft -D INPUT -j ACCEPT; ip link del veth7", [.ruleset, .network]),
            ] as [(String, Set<NetworkEvent>)] {
                let before = try #require(news.count())
                try await net.run("router", change)
                let told = try await log.take(atLeast: expected)
                #expect(told == expected, "\(change)")
                #expect((news.count() != before) == expected.contains(.network), "\(change)")
            }
            reader.cancel()
            await reader.value
            // Nobody listens: whoever counts has to look.
            for _ in 0..<50 where news.count() != nil { try await Task.sleep(for: .milliseconds(20)) }
            #expect(news.count() == nil)
        }
    }

    /// By programs of the legacy back end, whatever becomes of the file that they lock.
    @Test func whoeverHadTheLockIsTold() async throws {
        try await Netns.with { net in
            let lock = lockFile()
            defer { unlink(lock) }
            try await net.run("router", "XTABLES_LOCKFILE=\(lock) iptables-legacy -A INPUT -p tcp --dport 80 -j ACCEPT")
            let news = try await net.inside("router") { try networkNews(lock: lock) }
            let log = EventLog()
            let reader = Task { for await event in news.events { await log.add(event) } }
            defer { reader.cancel() }
            let replace = "-R INPUT 1 -p tcp --dport 81 -j ACCEPT"
            let restore = "printf \"*filter\\n-R INPUT 1 -p tcp --dport 82 -j ACCEPT\\nCOMMIT\\n\""
            for (change, expected) in [
                ("iptables-nft -S; iptables-legacy-save", []),
                ("iptables-legacy \(replace)", [.lock]),
                ("\(restore) | iptables-legacy-restore --noflush", [.lock]),
                ("ip6tables-legacy -t nat -N OTHER", [.lock]),
                // Another file of the same name.
                ("rm \(lock); iptables-legacy -F; ip address add 10.9.9.9/32 dev lo", [.lock, .network]),
                ("iptables-legacy -A INPUT -p tcp --dport 80 -j ACCEPT", [.lock]),
                ("iptables-legacy \(replace)", [.lock]),
            ] as [(String, Set<NetworkEvent>)] {
                let before = try #require(news.locks())
                try await net.run("router", "export XTABLES_LOCKFILE=\(lock); \(change)")
                #expect(try await log.take(atLeast: expected) == expected, "\(change)")
                #expect((news.locks() != before) == expected.contains(.lock), "\(change)")
            }
        }
    }

    /// Ten thousand rules are one event, since the kernel keeps the rest to itself.
    @Test func aBurstIsOneEvent() async throws {
        try await Netns.with { net in
            let stream = try await net.inside("router") { try networkNews(lock: lockFile()).events }
            let log = EventLog()
            let reader = Task { for await event in stream { await log.add(event) } }
            try await net.run(
                "router",
                "(echo \"*filter\"; for port in {10000..19999}; do echo \"-A INPUT -p tcp --dport $port -j ACCEPT\"; done; "
                    + "echo COMMIT) | iptables-nft-restore --noflush")
            #expect(try await log.take(atLeast: [.ruleset]) == [.ruleset])
            // More than the socket can hold, so some may be lost.
            try await net.run(
                "router",
                "(for number in {1..2000}; do echo \"route add 192.0.2.$((number % 250))/32 dev lo metric $number\"; done) "
                    + "| ip -batch -")
            let told = try await log.take(atLeast: [.network])
            #expect(told.subtracting([.lost]) == [.network])
            #expect(await log.count < 40)
            reader.cancel()
            await reader.value
        }
    }

    /// Whoever stops reading ends the thread and its sockets.
    @Test func nothingIsLeftBehind() async throws {
        try await Netns.with { net in
            let before = openFiles()
            let streams = try await net.inside("router") {
                try (0..<5).map { _ in try networkNews(lock: lockFile()).events }
            }
            #expect(openFiles() >= before + 25)
            let readers = streams.map { stream in Task { for await _ in stream {} } }
            for reader in readers { reader.cancel() }
            for reader in readers { await reader.value }
            for _ in 0..<100 where openFiles() > before { try await Task.sleep(for: .milliseconds(20)) }
            #expect(openFiles() <= before)
        }
    }
}

/// One that no other run locks, and that is not there.
private func lockFile() -> String { "/run/natfleet-test-\(UInt64.random(in: .min ... .max)).lock" }

/// Sockets and files of this process.
private func openFiles() -> Int {
    (try? FileManager.default.contentsOfDirectory(atPath: "/proc/self/fd").count) ?? 0
}

private actor EventLog {
    private var events: Set<NetworkEvent> = []
    private(set) var count = 0

    func add(_ event: NetworkEvent) {
        events.insert(event)
        count += 1
    }

    /// Waits for `expected`, then for what else may come, since a burst is told a fifth of a second after it began.
    func take(atLeast expected: Set<NetworkEvent>) async throws -> Set<NetworkEvent> {
        for _ in 0..<100 where !events.isSuperset(of: expected) { try await Task.sleep(for: .milliseconds(20)) }
        try await Task.sleep(for: .milliseconds(300))
        defer { events = [] }
        return events
    }
}
