// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: natfleet contributors

import Testing

@testable import AgentCore

struct PaceTests {
    /// Something may be told before the next look is due: look then; where a look means to read the rules, not for more
    /// than a twentieth of the time.
    @Test(
        arguments: [
            (false, nil, 10.0), (false, 3, 3.25), (false, 0.1, 0.45), (false, 600, 10), (true, 3, 5.25),
            (true, 6, 6.25),
        ] as [(Bool, Double?, Double)])
    func looksAgainWhenSomethingMayBeTold(isBlind: Bool, again: Double?, due: Double) {
        var pace = Pace()
        pace.begin(.everything, 0)
        pace.end(LookResult(isBlind: isBlind, again: again), 0.25)
        #expect(pace.due(due - 0.05) == nil && pace.due(due) == .glance)
    }

    /// Nothing that is due is slept over, by more than the second that ticks are apart at most.
    @Test(arguments: [nil, .glance, .rules, .everything] as [Look?])
    func restsNoLongerThanNothingIsDue(_ news: Look?) {
        for result in [LookResult(isBlind: false), .init(isBlind: false, isSilent: true, rules: 5000), .init(again: 3)]
        {
            for length in [0.01, 0.25, 3] {
                var pace = Pace()
                pace.begin(.everything, 0)
                pace.end(result, length)
                if let news { pace.heard(news) }
                let rest = pace.rest(length)
                #expect((1...10).contains(rest) && (rest == 10 || pace.due(length + rest) != nil))
                for second in stride(from: 1, to: rest, by: 1) { #expect(pace.due(length + second) == nil) }
            }
        }
    }

    @Test func restsUntilTheNextLook() {
        var pace = Pace()
        #expect(pace.rest(0) == 1)
        pace.begin(.everything, 0)
        pace.end(LookResult(isBlind: false), 0.25)
        #expect(pace.rest(0.25) == 10 && pace.rest(7.5) == 3)
        pace.end(LookResult(isBlind: false, isSilent: true), 0.25)
        #expect(pace.rest(0.25) == 5)
        pace.end(LookResult(isBlind: false, isContended: true), 0.25)
        #expect(pace.rest(0.25) == 10)
    }

    struct Case: CustomTestStringConvertible, Sendable {
        let testDescription: String
        let result: LookResult
        var news: Look?
        var whole = 300.0
        /// The look before was one at everything.
        var wasWhole = true
        /// Seconds from the end of the look before, which took a quarter of one, to the next, and which that is.
        let next: (after: Double, look: Look)
    }

    private static func quiet(onLegacy: Bool = false, rules: Int = 10) -> LookResult {
        LookResult(isBlind: false, isSilent: onLegacy, rules: rules)
    }

    private static func fight(
        _ isBlind: Bool, others: Bool = false, rules: Int = 10, again: Double? = nil, onLegacy: Bool = false
    ) -> LookResult {
        LookResult(
            isBlind: isBlind, isSilent: onLegacy, hasOtherTables: others, rules: rules, isContended: true, again: again)
    }

    static let cases: [Case] = [
        Case(testDescription: "nft", result: LookResult(isBlind: false), next: (9.75, .glance)),
        Case(testDescription: "legacy", result: quiet(onLegacy: true), next: (4.75, .glance)),
        Case(testDescription: "only reading tells", result: LookResult(rules: 1000), next: (9.75, .rules)),
        Case(testDescription: "only reading tells, many rules", result: LookResult(rules: 1001), next: (59.75, .rules)),
        Case(
            testDescription: "nft, many rules", result: LookResult(isBlind: false, rules: 9999), next: (9.75, .glance)),
        Case(
            testDescription: "a fight over many legacy rules", result: fight(false, rules: 9999, onLegacy: true),
            next: (29.75, .rules)),
        Case(testDescription: "news on nft", result: LookResult(isBlind: false), news: .glance, next: (5, .glance)),
        Case(testDescription: "news on legacy", result: LookResult(), news: .everything, next: (5, .everything)),
        Case(
            testDescription: "others' legacy tables", result: LookResult(isBlind: false, hasOtherTables: true),
            whole: 5, next: (4.75, .everything)),
        Case(
            testDescription: "no news to be had", result: LookResult(isBlind: false), whole: 10,
            next: (9.75, .everything)),
        Case(testDescription: "a fight on nft", result: fight(false), next: (29.75, .glance)),
        Case(testDescription: "a fight on legacy", result: fight(true), next: (29.75, .rules)),
        Case(testDescription: "a fight, many rules", result: fight(true, rules: 1001), next: (29.75, .rules)),
        Case(testDescription: "a fight, news", result: fight(false), news: .glance, next: (29.75, .glance)),
        Case(testDescription: "a fight, something to tell", result: fight(false, again: 3), next: (29.75, .glance)),
        Case(
            testDescription: "a fight, everything is due", result: fight(false, others: true), whole: 10,
            next: (29.75, .everything)),
        Case(
            testDescription: "a fight, a change was made", result: fight(false), wasWhole: false,
            next: (29.75, .everything)),
    ]

    @Test(arguments: cases)
    func looksInTime(_ row: Case) {
        var pace = Pace(whole: row.whole)
        pace.begin(row.wasWhole ? .everything : .glance, 100)
        pace.end(row.result, 100.25)
        if let news = row.news { pace.heard(news) }
        let due = 100.25 + row.next.after
        #expect(pace.due(due - 0.05) == nil && pace.due(due) == row.next.look)
    }

    /// Between glances at how many there are; of many only when somebody may have changed them, or with everything else.
    @Test(arguments: [(1000, 10.0), (1001, 300)]) func looksAtWhatRulesSayOnLegacy(rules: Int, period: Double) {
        var pace = Pace()
        pace.begin(.everything, 0)
        pace.end(Self.quiet(onLegacy: true, rules: rules), 0)
        var looks: [Look: [Double]] = [:]
        for now in stride(from: 1.0, through: 121, by: 1) {
            guard let look = pace.due(now) else { continue }
            looks[look, default: []].append(now)
            pace.begin(look, now)
            pace.end(Self.quiet(onLegacy: true, rules: rules), now)
        }
        #expect(looks[.rules, default: []] == Array(stride(from: period, through: 121, by: period)))
        #expect(looks[.glance]?.count == 24 - Int(120 / period))
    }

    /// Somebody had the lock just after a long look, and a glance comes before the next one may begin.
    @Test func aGlanceForgetsNoNews() {
        var pace = Pace()
        let quiet = Self.quiet(onLegacy: true, rules: 9999)
        pace.begin(.everything, 0)
        pace.end(quiet, 1)
        pace.heard(.rules)
        #expect(pace.due(4.9) == nil && pace.due(5) == .glance)
        pace.begin(.glance, 5)
        pace.end(quiet, 5)
        #expect(pace.due(5.1) == nil && pace.due(5.2) == .rules)
        pace.begin(.rules, 5.2)
        pace.end(quiet, 5.3)
        #expect(pace.due(10.1) == nil && pace.due(10.3) == .glance)
    }

    @Test func readsEverythingEveryFiveMinutes() {
        var pace = Pace()
        pace.begin(.everything, 0)
        var looks: [Double] = []
        for now in stride(from: 1.0, through: 601, by: 1) {
            guard let look = pace.due(now) else { continue }
            if look == .everything { looks.append(now) }
            pace.begin(look, now)
            pace.end(LookResult(isBlind: false), now)
        }
        #expect(looks == [300, 600])
    }
}
