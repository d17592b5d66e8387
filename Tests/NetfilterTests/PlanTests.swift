// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: natfleet contributors

import NetAddress
import Netfilter
import TestSupport
import Testing

struct PlanTests {
    @Test func differencesSayWhatIsWrong() throws {
        let desired = try OwnedState(
            parsing: """
                *filter
                :NATFLEET-FWD - [0:0]
                :NATFLEET-OUT - [0:0]
                -A FORWARD -j NATFLEET-FWD
                -A OUTPUT -j NATFLEET-OUT
                -A NATFLEET-FWD -s 10.0.0.0/8 -j ACCEPT
                -A NATFLEET-FWD -j DROP
                -A NATFLEET-OUT -j DROP
                COMMIT
                """)
        let actual = try OwnedState(
            parsing: """
                *filter
                :NATFLEET-FWD - [0:0]
                :NATFLEET-OLD - [0:0]
                -A FORWARD -j NATFLEET-FWD
                -A FORWARD -j OTHER
                -A FORWARD -j NATFLEET-FWD
                -A FORWARD -i eth0 -j NATFLEET-FWD
                -A NATFLEET-FWD -s 10.0.0.0/8 -j DROP
                COMMIT
                """)
        #expect(
            differences(of: actual, from: desired).map(\.description) == [
                "filter: NATFLEET-FWD rule 1: have -A NATFLEET-FWD -s 10.0.0.0/8 -j DROP, "
                    + "want -A NATFLEET-FWD -s 10.0.0.0/8 -j ACCEPT",
                "filter: NATFLEET-FWD rule 2: have none, want -A NATFLEET-FWD -j DROP",
                "filter: chain NATFLEET-OLD should not be there",
                "filter: chain NATFLEET-OUT is missing",
                "filter: FORWARD enters NATFLEET-FWD 2 times",
                "filter: OUTPUT does not enter NATFLEET-OUT",
                "filter: rule should not be there: -A FORWARD -i eth0 -j NATFLEET-FWD",
            ])
        #expect(differences(of: desired, from: desired).isEmpty)
    }

    @Test func jumpBelowOthersIsNoDifference() throws {
        let text = "*nat\n:NATFLEET-PRE - [0:0]\n-A PREROUTING -j NATFLEET-PRE\nCOMMIT\n"
        let below = text.replacing("-A PREROUTING", with: "-A PREROUTING -j DOCKER\n-A PREROUTING")
        let (desired, actual) = (try OwnedState(parsing: text), try OwnedState(parsing: below))
        #expect(differences(of: actual, from: desired).isEmpty)
        #expect(plan(from: actual, to: desired).isEmpty)
        #expect(actual.displacedJumps.count == 1)
    }

    @Test func whereJumpsHaveToBeFirstOnlyTheyMove() throws {
        let text = """
            *nat
            :NATFLEET-POST - [0:0]
            :NATFLEET-PRE - [0:0]
            -A PREROUTING -j DOCKER
            -A PREROUTING -p udp -j ACCEPT
            -A PREROUTING -j NATFLEET-PRE
            -A POSTROUTING -j NATFLEET-POST
            -A NATFLEET-POST -o eth0 -j MASQUERADE
            COMMIT

            """
        let state = try OwnedState(parsing: text)
        #expect(
            differences(of: state, from: state, jumpsFirst: true).map(\.description) == [
                "nat: PREROUTING has 2 other rules before it enters NATFLEET-PRE"
            ])
        let moves = ["*nat", "-D PREROUTING -j NATFLEET-PRE", "-I PREROUTING 1 -j NATFLEET-PRE", "COMMIT", ""]
        #expect(plan(from: state, to: state, jumpsFirst: true).steps.map(\.text) == [moves.joined(separator: "\n")])
        // A jump that is there twice is put back once, wherever the two stand.
        let twice = try OwnedState(
            parsing: text.replacing("-A PREROUTING -j DOCKER", with: "-A PREROUTING -j NATFLEET-PRE"))
        #expect(differences(of: twice, from: state, jumpsFirst: true).count == 1)
        #expect(plan(from: twice, to: state, jumpsFirst: true) == plan(from: twice, to: state))
    }

    @Test func jumpsThatWereMovedGoBackToTheirPlace() throws {
        let text = """
            *filter
            :NATFLEET-FWD - [0:0]
            -A FORWARD -j DOCKER
            -A FORWARD -j NATFLEET-FWD
            COMMIT
            *nat
            :NATFLEET-PRE - [0:0]
            -A PREROUTING -j DOCKER
            -A PREROUTING -j NATFLEET-PRE
            COMMIT

            """
        let before = try OwnedState(parsing: text)
        #expect(planJumpsBack(from: before, to: before).isEmpty)
        let moved = try OwnedState(
            parsing: text.replacing(
                "-A FORWARD -j DOCKER\n-A FORWARD -j NATFLEET-FWD",
                with: "-A FORWARD -j NATFLEET-FWD\n-A FORWARD -j DOCKER"
            ))
        let way = ["*filter", "-D FORWARD -j NATFLEET-FWD", "-I FORWARD 2 -j NATFLEET-FWD", "COMMIT", ""]
        for known in [before, try OwnedState(parsing: renderRestore(before, jumps: .kept))] {
            #expect(planJumpsBack(from: moved, to: known).inputs == [way.joined(separator: "\n")])
        }
        #expect(planJumpsBack(from: before, to: moved).isEmpty, "others put theirs above ours")
    }

    /// Rules of FORWARD, `J` for the jump, before a change that puts it first; others' of now, and what the way back makes.
    @Test(
        arguments: [
            ("A B J C D", "A B C D", "A B J C D"),
            ("A B J C D", "B C D", "B J C D"),
            ("A B J C D", "C D", "J C D"),
            ("A B J C D", "A B D", "A B J D"),
            ("A B J C D", "A B", "A B J"),
            ("A B J C D", "A", "A J"),
            ("A B J C D", "", "J"),
            ("A B J C D", "N A B C O D", "N A B J C O D"),
            ("A B J C D", "N B D", "N B J D"),
            ("A B J", "B", "B J"),
            ("A B J A C", "A B A C", "A B J A C"),
            ("A B J A C", "B A C", "B J A C"),
            ("J A B", "A B", "J A B"),
        ])
    func jumpsGoBackAboveTheRulesThatTheyStoodAbove(then: String, others: String, wanted: String) throws {
        func rules(_ names: String) -> String {
            names.split(separator: " ").map { "-A FORWARD \($0 == "J" ? "-j NATFLEET-FWD" : "-i \($0) -j DROP")\n" }
                .joined()
        }
        func state(_ names: String) throws -> OwnedState {
            try OwnedState(parsing: "*filter\n:NATFLEET-FWD - [0:0]\n\(rules(names))COMMIT\n")
        }
        let before = try state(then)
        for known in [before, try OwnedState(parsing: renderRestore(before, jumps: .kept))] {
            var kernel = FakeNetfilter()
            try kernel.restore("*filter\n:NATFLEET-FWD - [0:0]\n\(rules("J " + others))COMMIT\n")
            for input in planJumpsBack(from: try OwnedState(parsing: kernel.save()), to: known).inputs {
                try kernel.restore(input)
            }
            let forward = kernel.save().split(separator: "\n").filter { $0.hasPrefix("-A FORWARD ") }
            #expect(forward.map { $0 + "\n" }.joined() == rules(wanted))
        }
    }

    @Test func onlyTheChangedChainIsRewrittenAndKeepsItsCounters() throws {
        let old = """
            *nat
            :NATFLEET-POST - [0:0]
            :NATFLEET-PRE - [0:0]
            [1:60] -A PREROUTING -j NATFLEET-PRE
            [1:60] -A POSTROUTING -j NATFLEET-POST
            [3:180] -A NATFLEET-POST -o eth0 -j MASQUERADE
            [2:120] -A NATFLEET-PRE -p tcp -m tcp --dport 80 -j DNAT --to-destination 10.0.1.1
            COMMIT

            """
        let new = old.replacing(
            "COMMIT", with: "[0:0] -A NATFLEET-PRE -p tcp -m tcp --dport 81 -j DNAT --to-destination 10.0.1.2\nCOMMIT")
        let steps = plan(from: try OwnedState(parsing: old), to: try OwnedState(parsing: new)).steps
        #expect(
            steps.map(\.text) == [
                """
                *nat
                :NATFLEET-PRE - [0:0]
                [2:120] -A NATFLEET-PRE -p tcp -m tcp --dport 80 -j DNAT --to-destination 10.0.1.1
                [0:0] -A NATFLEET-PRE -p tcp -m tcp --dport 81 -j DNAT --to-destination 10.0.1.2
                COMMIT

                """
            ])
    }

    private func state(forwardTo target: Int, egress: Int) throws -> OwnedState {
        try OwnedState(
            parsing: """
                *filter
                :NATFLEET-FWD - [0:0]
                -A FORWARD -j NATFLEET-FWD
                -A NATFLEET-FWD -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
                -A NATFLEET-FWD -d 10.0.1.\(target)/32 -m conntrack --ctstate DNAT --ctorigdst 10.0.0.1 -j ACCEPT
                -A NATFLEET-FWD -s 10.\(egress).0.0/16 -o eth0 -m conntrack --ctstate NEW -j ACCEPT
                -A NATFLEET-FWD -s 10.\(egress).0.0/16 -o eth0 -m conntrack --ctstate INVALID,NEW -j DROP
                COMMIT
                *nat
                :NATFLEET-POST - [0:0]
                :NATFLEET-PRE - [0:0]
                -A PREROUTING -j NATFLEET-PRE
                -A POSTROUTING -j NATFLEET-POST
                -A NATFLEET-POST -s 10.\(egress).0.0/16 -o eth0 -j MASQUERADE
                -A NATFLEET-PRE -d 10.0.0.1/32 -j DNAT --to-destination 10.0.1.\(target)
                COMMIT
                """)
    }

    @Test func noRunGetsATableTwice() throws {
        let plan = Netfilter.plan(
            from: try state(forwardTo: 1, egress: 1), to: try state(forwardTo: 2, egress: 2))
        #expect(plan.steps.map(\.table) == [.nat, .filter, .nat, .filter])
        #expect(
            plan.inputs == [plan.steps[0].text + plan.steps[1].text, plan.steps[2].text + plan.steps[3].text])
        var rest = plan
        rest.steps.removeFirst()
        #expect(rest.inputs == [plan.steps[1].text + plan.steps[2].text, plan.steps[3].text])
        rest.steps = []
        #expect(rest.inputs.isEmpty)
    }

    @Test func everyStepIsSafeWhenAllChanges() throws {
        let steps = plan(from: try state(forwardTo: 1, egress: 1), to: try state(forwardTo: 2, egress: 2)).steps
        let text = steps.map(\.text).joined()
        #expect(
            text == """
                *nat
                :NATFLEET-POST - [0:0]
                -A NATFLEET-POST -s 10.2.0.0/16 -o eth0 -j MASQUERADE
                -A NATFLEET-POST -s 10.1.0.0/16 -o eth0 -j MASQUERADE
                COMMIT
                *filter
                :NATFLEET-FWD - [0:0]
                -A NATFLEET-FWD -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
                -A NATFLEET-FWD -d 10.0.1.2/32 -m conntrack --ctstate DNAT --ctorigdst 10.0.0.1 -j ACCEPT
                -A NATFLEET-FWD -s 10.2.0.0/16 -o eth0 -m conntrack --ctstate NEW -j ACCEPT
                -A NATFLEET-FWD -d 10.0.1.1/32 -m conntrack --ctstate DNAT --ctorigdst 10.0.0.1 -j ACCEPT
                -A NATFLEET-FWD -s 10.2.0.0/16 -o eth0 -m conntrack --ctstate INVALID,NEW -j DROP
                -A NATFLEET-FWD -s 10.1.0.0/16 -o eth0 -m conntrack --ctstate INVALID,NEW -j DROP
                COMMIT
                *nat
                :NATFLEET-POST - [0:0]
                :NATFLEET-PRE - [0:0]
                -A NATFLEET-POST -s 10.2.0.0/16 -o eth0 -j MASQUERADE
                -A NATFLEET-PRE -d 10.0.0.1/32 -j DNAT --to-destination 10.0.1.2
                COMMIT
                *filter
                :NATFLEET-FWD - [0:0]
                -A NATFLEET-FWD -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
                -A NATFLEET-FWD -d 10.0.1.2/32 -m conntrack --ctstate DNAT --ctorigdst 10.0.0.1 -j ACCEPT
                -A NATFLEET-FWD -s 10.2.0.0/16 -o eth0 -m conntrack --ctstate NEW -j ACCEPT
                -A NATFLEET-FWD -s 10.2.0.0/16 -o eth0 -m conntrack --ctstate INVALID,NEW -j DROP
                COMMIT

                """)
    }

    @Test func turningOnTranslatesBeforeItAccepts() throws {
        let steps = plan(from: .none, to: try state(forwardTo: 1, egress: 1)).steps
        #expect(steps.map(\.table) == [.nat, .filter, .nat])
        let isForwarding = steps.map { $0.text.contains("-j DNAT") }
        #expect(isForwarding == [false, false, true])
    }

    @Test func turningOffTakesAcceptsAwayBeforeNatAndTheGuardLast() throws {
        let steps = plan(from: try state(forwardTo: 1, egress: 1), to: .none).steps
        #expect(
            steps.map(\.text).joined() == """
                *filter
                :NATFLEET-FWD - [0:0]
                -A NATFLEET-FWD -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
                -A NATFLEET-FWD -d 10.0.1.1/32 -m conntrack --ctstate DNAT --ctorigdst 10.0.0.1 -j ACCEPT
                -A NATFLEET-FWD -s 10.1.0.0/16 -o eth0 -m conntrack --ctstate INVALID,NEW -j DROP
                COMMIT
                *nat
                -D POSTROUTING -j NATFLEET-POST
                -D PREROUTING -j NATFLEET-PRE
                -F NATFLEET-POST
                -F NATFLEET-PRE
                -X NATFLEET-POST
                -X NATFLEET-PRE
                COMMIT
                *filter
                -D FORWARD -j NATFLEET-FWD
                -F NATFLEET-FWD
                -X NATFLEET-FWD
                COMMIT

                """)
    }

    /// Random states of ours among random rules of others: what the plan makes of one is the other, and no foreign rule
    /// is touched.
    @Test func planLeadsFromAnyStateToAnyOther() throws {
        var random = SeededGenerator(seed: 42)
        for round in 0..<400 {
            var kernel = FakeNetfilter()
            try kernel.restore(foreignRules(using: &random))
            let (old, new) = (randomState(using: &random), randomState(using: &random))
            try kernel.restore(renderRestore(old))
            if Bool.random(using: &random), let jump = old.nat.jumps.first {
                try kernel.restore("*nat\n\(jump.line)\n-A PREROUTING -i eth9 -j \(jump.to)\nCOMMIT\n")
            }
            kernel.count(packets: 9, onEachRuleOf: "NATFLEET-FWD", in: "filter")
            let before = try OwnedState(parsing: kernel.save(counters: true))
            let foreign = foreignLines(kernel)

            for step in plan(from: before, to: new).steps { try kernel.restore(step.text) }

            let after = try OwnedState(parsing: kernel.save(counters: true))
            #expect(after == new, "round \(round)")
            #expect(differences(of: after, from: new).isEmpty, "round \(round)")
            #expect(plan(from: after, to: new).isEmpty, "round \(round)")
            #expect(foreignLines(kernel) == foreign, "round \(round)")
            let counted = Dictionary(
                before.filter.chains["NATFLEET-FWD", default: []].map { ($0.text, $0.counters) },
                uniquingKeysWith: { first, _ in first })
            for line in after.filter.chains["NATFLEET-FWD", default: []] {
                guard let counters = counted[line.text] else { continue }
                #expect(line.counters == counters, "round \(round): \(line.text)")
            }
        }
    }

    /// Somebody has led a chain of the tree back to its top, and the top is gone: with the old way and the new way
    /// together the kernel would refuse every step.
    @Test func stepsNeverLeadInACircle() throws {
        func state(_ rules: String...) throws -> OwnedState {
            let chains = ["NATFLEET-FWD", "NATFLEET-FWD-tcp1", "NATFLEET-FWD-tcp1-08"].map { ":\($0) - [0:0]" }
            let lines = ["*filter"] + chains + ["-A FORWARD -j NATFLEET-FWD"] + rules + ["COMMIT", ""]
            return try OwnedState(parsing: lines.joined(separator: "\n"))
        }
        let turned = "-m conntrack --ctstate DNAT"
        let desired = try state(
            "-A NATFLEET-FWD \(turned) -j NATFLEET-FWD-tcp1", "-A NATFLEET-FWD-tcp1 \(turned) -g NATFLEET-FWD-tcp1-08",
            "-A NATFLEET-FWD-tcp1-08 \(turned) -j ACCEPT")
        let actual = try state("-A NATFLEET-FWD-tcp1-08 \(turned) -g NATFLEET-FWD-tcp1")
        var kernel = FakeNetfilter()
        try kernel.restore(renderRestore(actual))
        for step in plan(from: actual, to: desired).steps { try kernel.restore(step.text) }
        #expect(try OwnedState(parsing: kernel.save()) == desired)
    }

    private func foreignLines(_ kernel: FakeNetfilter) -> [Substring] {
        kernel.save(counters: true).split(separator: "\n").filter { !$0.contains("NATFLEET-") }
    }

    private func foreignRules(using random: inout SeededGenerator) -> String {
        let filter = ["-A FORWARD -j DOCKER-USER", "-A FORWARD -i docker0 -j ACCEPT", "-I INPUT 1 -p icmp -j ACCEPT"]
        let nat = [
            "-A POSTROUTING -s 172.17.0.0/16 -j MASQUERADE",
            "-A PREROUTING -p tcp -m tcp --dport 5 -j DNAT --to 1.2.3.4",
        ]
        let parts =
            filter.filter { _ in Bool.random(using: &random) } + ["COMMIT", "*nat"]
            + nat.filter { _ in Bool.random(using: &random) }
        return (["*filter", ":DOCKER-USER - [0:0]"] + parts + ["COMMIT", ""]).joined(separator: "\n")
    }

    private func randomState(using random: inout SeededGenerator) -> OwnedState {
        func lines(_ chain: String, _ bodies: [String]) -> [OwnedState.Line] {
            bodies.filter { _ in Bool.random(using: &random) }.map { OwnedState.Line("-A \(chain) \($0)") }
        }
        let candidates: [(Table, String, BuiltInChain, [String])] = [
            (
                .filter, "NATFLEET-FWD", .forward,
                (0..<6).map { "-s 10.0.\($0).0/24 -o eth0 -m conntrack --ctstate NEW -j ACCEPT" }
                    + (0..<3).map { "-d 10.0.1.\($0)/32 -m conntrack --ctstate DNAT --ctorigdst 10.0.0.1 -j ACCEPT" }
                    + ["-s 10.0.0.0/16 -o eth0 -j DROP"]
            ),
            (.filter, "NATFLEET-OUT", .output, ["-o eth0 -j DROP"]),
            (
                .nat, "NATFLEET-PRE", .prerouting,
                (0..<4).map { "-p tcp -m tcp --dport \($0 + 1) -j DNAT --to 10.0.1.\($0)" }
            ),
            (.nat, "NATFLEET-POST", .postrouting, (0..<6).map { "-s 10.0.\($0).0/24 -o eth0 -j MASQUERADE" }),
        ]
        var state = OwnedState.none
        for (table, chain, builtIn, bodies) in candidates where Int.random(in: 0...4, using: &random) > 0 {
            state[table].chains[chain] = lines(chain, bodies.shuffled(using: &random))
            let jump = Jump(from: builtIn, to: chain)
            state[table].jumps.append(.init(from: jump.from.rawValue, to: chain, position: 1, line: jump.line))
        }
        return state
    }
}
