// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: natfleet contributors

import AgentCore
import FleetModel
import NATPolicy
import NetAddress
import Testing

/// What is read every few seconds, judged.
struct HealthWatchTests {
    private static func plan() throws -> HealthPlan {
        let policy = FlowFixtures.policy([try FlowFixtures.egress(except: "192.0.2.0/24")])
        let facts = try FlowFixtures.single()
        return HealthPlan(try compile(policy, on: facts), on: facts)
    }

    private static let forwarding = ["net.ipv4.ip_forward": "1", "net.ipv6.conf.all.forwarding": "1"]

    struct Case: CustomTestStringConvertible, Sendable {
        let testDescription: String
        let reading: HealthReading
        let codes: [String]

        init(_ description: String, _ reading: HealthReading, _ codes: String...) {
            (testDescription, self.reading, self.codes) = (description, reading, codes)
        }
    }

    static let cases: [Case] = [
        Case("all is well", HealthReading(sysctls: forwarding, hasClient: true)),
        Case("what cannot be read is not known", HealthReading()),
        Case(
            "one family is not forwarded",
            HealthReading(
                sysctls: ["net.ipv4.ip_forward": "1", "net.ipv6.conf.all.forwarding": "0"], hasClient: true),
            "forwarding-off ipv6"),
        Case(
            "neither is",
            HealthReading(sysctls: ["net.ipv4.ip_forward": "0", "net.ipv6.conf.all.forwarding": "0"]),
            "forwarding-off ipv4", "forwarding-off ipv6"),
        Case(
            "rules of one family could not be put back", HealthReading(missingRules: [.ipv4: "IPv4: no chain"]),
            "rules-missing ipv4"),
        Case("no client", HealthReading(hasClient: false), "no-client-traffic"),
        Case("a minute is no skew", HealthReading(link: LinkHealth(clockSkew: -60))),
        Case("behind", HealthReading(link: LinkHealth(clockSkew: 61)), "clock-skew"),
        Case("ahead", HealthReading(link: LinkHealth(clockSkew: -1e9)), "clock-skew"),
        Case("no controller", HealthReading(link: LinkHealth(trouble: "timed out")), "controller-unreachable"),
    ]

    @Test(arguments: cases)
    func judges(_ row: Case) throws {
        var watch = HealthWatch()
        watch.plan = try Self.plan()
        let found = watch.conditions(row.reading, now: 0)
        #expect(found.map { ([$0.code] + ($0.family.map { [$0.rawValue] } ?? [])).joined(separator: " ") } == row.codes)
    }

    @Test(arguments: [
        (61.0, "more than a minute behind"), (-601, "more than 10 minutes ahead of"), (90_000, "a day behind"),
    ])
    func skewIsToldInSteps(skew: Double, words: String) throws {
        var watch = HealthWatch()
        let message = try #require(watch.conditions(HealthReading(link: .init(clockSkew: skew)), now: 0).first).message
        #expect(message.contains(words))
    }

    @Test func withoutAPolicyNothingHasToBeForwarded() {
        var watch = HealthWatch()
        #expect(watch.conditions(HealthReading(sysctls: ["net.ipv4.ip_forward": "0"]), now: 0).isEmpty)
        #expect(!watch.looksForClients(tracked: nil, now: 0))
    }

    @Test func looksForClientsRarelyOnceOneWasSeenAndSoonForAnotherPolicy() throws {
        var watch = HealthWatch()
        watch.plan = try Self.plan()
        #expect(watch.looksForClients(tracked: nil, now: 0) && watch.conditions(HealthReading(), now: 0).isEmpty)
        #expect(watch.conditions(HealthReading(hasClient: false), now: 0).count == 1)
        #expect(!watch.looksForClients(tracked: nil, now: 29) && watch.looksForClients(tracked: nil, now: 30))
        #expect(watch.conditions(HealthReading(hasClient: true), now: 30).isEmpty)
        watch.plan = try Self.plan()
        #expect(!watch.looksForClients(tracked: nil, now: 329) && watch.conditions(HealthReading(), now: 90).isEmpty)
        #expect(watch.looksForClients(tracked: nil, now: 330))
        watch.plan?.sources.removeLast()
        #expect(watch.looksForClients(tracked: nil, now: 91))
    }

    /// A source/destination check that was turned on again, a route table that leads elsewhere by now.
    @Test func clientsThatWereThereAreMissed() throws {
        var watch = HealthWatch()
        watch.plan = try Self.plan()
        var board = ConditionBoard()
        func shown(_ hasClient: Bool?, _ now: Double) -> [String] {
            board.shown(watch.conditions(HealthReading(hasClient: hasClient), now: now), now: now).map(\.message)
        }
        #expect(shown(true, 0) == [] && shown(false, 1800) == [] && shown(true, 2000) == [])
        #expect(shown(false, 4999) == [] && shown(false, 5000) == [] && shown(nil, 5599) == [])
        #expect(shown(nil, 5600).first?.contains("for an hour") == true)
        #expect(shown(true, 5700) == [])
    }

    /// An established connection of a client that is gone stays in the table for days.
    @Test(
        arguments: [
            ("tcp 10.0.1.10:4000 198.51.100.7:443", 432_000, true),
            ("tcp 10.0.1.10:4000 198.51.100.7:443", 431_400, true),
            ("tcp 10.0.1.10:4000 198.51.100.7:443", 431_399, false), ("tcp 10.0.1.10:4000 198.51.100.7:443", 119, true),
            ("udp 10.0.1.10:4000 198.51.100.7:443", 1, true), ("icmp 10.0.1.10 198.51.100.7", 30, true),
        ] as [(String, UInt32, Bool)])
    func knowsFlowsThatAreAlive(_ text: String, timeout: UInt32, isAlive: Bool) throws {
        var flow = try TrackedFlow(text)
        flow.timeout = timeout
        #expect(flow.isRecent(establishedTimeout: 432_000) == isAlive)
    }

    @Test func looksForClientsRarelyWhileNoMoreFlowsAreTracked() throws {
        var watch = HealthWatch()
        watch.plan = try Self.plan()
        let quiet = ConntrackUsage(count: 3, max: 8192, buckets: 8192)
        _ = watch.conditions(HealthReading(conntrack: quiet, hasClient: false), now: 0)
        #expect(!watch.looksForClients(tracked: 3, now: 299) && watch.looksForClients(tracked: 3, now: 300))
        #expect(!watch.looksForClients(tracked: 4, now: 29) && watch.looksForClients(tracked: 4, now: 30))
    }

    @Test(
        arguments: [
            ("translated", "10.0.1.10", "198.51.100.7", "10.0.0.11", [], true),
            ("IPv6", "2001:db8:0:101::10", "2001:db8:ffff::7", "2001:db8:0:100::11", [], true),
            ("the probe", "10.0.0.3", "198.51.100.7", "10.0.0.11", .seenReply, false),
            ("somebody who has the probe's address", "10.0.0.3", "198.51.100.8", "10.0.0.11", .seenReply, true),
            ("this host's own", "10.0.0.11", "198.51.100.7", "10.0.0.11", .seenReply, false),
            ("excepted and answered", "10.0.1.10", "192.0.2.1", "10.0.1.10", .seenReply, true),
            ("a broadcast", "10.0.0.12", "10.0.0.255", "10.0.0.12", [], false),
            ("to this host", "10.0.1.10", "10.0.0.11", "10.0.1.10", .seenReply, false),
            ("from outside", "198.51.100.99", "10.0.0.11", "198.51.100.99", .seenReply, false),
        ] as [(String, String, String, String, FlowStatus, Bool)])
    func knowsClients(_ name: String, from: String, to: String, seenAs: String, status: FlowStatus, isOne: Bool) throws
    {
        func tuple(_ source: String, _ destination: String, _ ports: (UInt16, UInt16)) throws -> FlowTuple {
            FlowTuple(
                source: try IPAddress(source), destination: try IPAddress(destination), protocolNumber: 6,
                detail: .ports(source: ports.0, destination: ports.1))
        }
        let flow = TrackedFlow(
            original: try tuple(from, to, (40000, 80)), reply: try tuple(to, seenAs, (80, 40000)), status: status)
        #expect(try Self.plan().isClient(flow, probe: FlowFixtures.probe(asking: "tcp:198.51.100.7:80")) == isOne)
    }
}

/// Connection tracking that fills up or loses connections.
struct ConntrackWatchTests {
    /// Entries of 1,000 taken, one look after the other, and what is shown.
    @Test(arguments: [
        ([799, 800, 760, 750, 749], ["", "conntrack-high", "conntrack-high", "conntrack-high", ""]),
        (
            [950, 900, 899, 949, 950],
            ["conntrack-full", "conntrack-full", "conntrack-high", "conntrack-high", "conntrack-full"]
        ),
        ([1000, 100], ["conntrack-full", ""]),
    ])
    func fills(counts: [Int], codes: [String]) {
        var watch = ConntrackWatch()
        var messages: [String: Set<String>] = [:]
        for (count, code) in zip(counts, codes) {
            let found = watch.conditions(ConntrackUsage(count: count, max: 1000, buckets: 1000), now: 0)
            #expect(found.map(\.code).joined() == code, "\(count)")
            for condition in found { messages[condition.code, default: []].insert(condition.message) }
        }
        #expect(messages.values.allSatisfy { $0.count == 1 }, "the same words for the same")
    }

    @Test(arguments: [
        (ConntrackCounters(insertFailed: 110, dropped: 110), ""),
        (ConntrackCounters(insertFailed: 111, dropped: 111), "new connections found no free source port"),
        (ConntrackCounters(insertFailed: 100, dropped: 111), "dropped packets"),
        (ConntrackCounters(insertFailed: 5, dropped: 5), ""),
    ])
    func loses(counters: ConntrackCounters, words: String) {
        var watch = ConntrackWatch()
        func look(_ counters: ConntrackCounters, _ now: Double) -> [Condition] {
            watch.conditions(ConntrackUsage(count: 1, max: 1000, buckets: 1000, counters: counters), now: now)
        }
        #expect(look(ConntrackCounters(insertFailed: 100, dropped: 100), 0).isEmpty, "what was before is not ours")
        let found = look(counters, 10)
        #expect(found.map(\.code) == (words.isEmpty ? [] : ["connections-dropped"]))
        #expect(found.first?.message.contains(words) ?? true)
        #expect(look(counters, 320).isEmpty, "over after 5 min")
    }

    @Test func nothingIsTrackedYet() {
        var watch = ConntrackWatch()
        #expect(watch.conditions(nil, now: 0).isEmpty)
    }
}
