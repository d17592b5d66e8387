// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: natfleet contributors

import AgentCore
import FleetModel
import NetAddress
import Testing

/// What is shown of what is the case: neither what passes nor what follows.
struct ConditionBoardTests {
    private static func condition(_ kind: ConditionKind, _ family: IPFamily? = nil) -> Condition {
        Condition(kind, "so it is", family: family)
    }

    struct Case: CustomTestStringConvertible, Sendable {
        let testDescription: String
        let present: [Condition]
        let shown: [Condition]

        init(_ description: String, _ present: [Condition], shown: [Condition]) {
            (testDescription, self.present, self.shown) = (description, present, shown)
        }
    }

    /// All have lasted for long.
    static let cases: [Case] = [
        Case("nothing", [], shown: []),
        Case(
            "worst first, then by code",
            [condition(.driftRepaired), condition(.notPersisted), condition(.applyFailed)],
            shown: [condition(.applyFailed), condition(.notPersisted), condition(.driftRepaired)]),
        Case(
            "what follows in the same family is left out",
            [condition(.probeFailed, .ipv6), condition(.ipv6RouteLost, .ipv6), condition(.probeFailed, .ipv4)],
            shown: [condition(.ipv6RouteLost, .ipv6), condition(.probeFailed, .ipv4)]),
        Case(
            "a cause without a family is one of both",
            [condition(.outsideInterfaceMissing), condition(.probeFailed, .ipv6), condition(.probeFailed, .ipv4)],
            shown: [condition(.outsideInterfaceMissing)]),
        Case(
            "what follows from both families is left out for either",
            [condition(.noClientTraffic), condition(.probeFailed, .ipv6)], shown: [condition(.probeFailed, .ipv6)]),
        Case(
            "a cause that is left out itself still hides",
            [condition(.outsideInterfaceMissing), condition(.ipv4RouteLost, .ipv4), condition(.probeFailed, .ipv4)],
            shown: [condition(.outsideInterfaceMissing)]),
        Case(
            "one code in both families", [condition(.notPersisted, .ipv6), condition(.notPersisted, .ipv4)],
            shown: [condition(.notPersisted, .ipv4), condition(.notPersisted, .ipv6)]),
    ]

    @Test(arguments: cases)
    func shows(_ row: Case) {
        var board = ConditionBoard()
        _ = board.shown(row.present, now: 0)
        #expect(board.shown(row.present, now: 10_000) == row.shown && board.wait == nil)
    }

    @Test(arguments: ConditionKind.catalogue.map(\.code))
    func eachShowsAfterItsTime(_ code: String) throws {
        let kind = try #require(ConditionKind.named(code))
        var board = ConditionBoard()
        #expect(board.shown([Self.condition(kind)], now: 50).isEmpty == (kind.after > 0))
        #expect(board.wait == (kind.after > 0 ? kind.after : nil))
        guard kind.after > 0 else { return }
        #expect(board.shown([Self.condition(kind)], now: 49 + kind.after).isEmpty && board.wait == 1)
        #expect(board.shown([Self.condition(kind)], now: 50 + kind.after).count == 1 && board.wait == nil)
        // Gone for a moment: it has to last all over again.
        #expect(board.shown([], now: 51 + kind.after).isEmpty)
        #expect(board.shown([Self.condition(kind)], now: 52 + kind.after).isEmpty)
    }

    /// What follows shows until its cause may.
    @Test func aCauseThatDoesNotShowYetHidesNothing() {
        var board = ConditionBoard()
        let probe = Self.condition(.probeFailed, .ipv4)
        _ = board.shown([probe], now: 0)
        let present = [probe, Self.condition(.ipv4RouteLost, .ipv4)]
        #expect(board.shown(present, now: 5) == [probe])
        #expect(board.shown(present, now: 8).map(\.code) == ["ipv4-route-lost"])
    }

    @Test func aConditionOfAnotherVersionIsShown() {
        var board = ConditionBoard()
        let strange = Self.condition(ConditionKind(code: "strange", severity: .warning, after: 9, remedy: "look"))
        #expect(board.shown([strange], now: 0) == [strange])
    }
}
