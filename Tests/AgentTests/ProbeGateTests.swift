// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: natfleet contributors

import FleetModel
import NATPolicy
import NetAddress
import Testing

@testable import AgentCore

struct ProbeGateTests {
    typealias Fact = ProbeFinding.Fact

    private static let unknown = Fact.unknown("no veth")
    private static let no = Fact.no("because")

    private static func finding(
        _ forwarded: Fact = .yes, _ translated: Fact = .yes, answered: Fact? = nil, instance: Fact = .unasked("-"),
        family: IPFamily = .ipv4
    ) throws -> ProbeFinding {
        ProbeFinding(
            family: family, masquerade: "web/egress",
            target: answered == nil ? nil : try ProbeTarget("tcp:203.0.113.7:443"), forwarded: forwarded,
            translated: translated, answered: answered ?? .unasked("-"), answersInstance: instance)
    }

    @Test(arguments: [
        (Fact.yes, Fact.yes, true), (.yes, no, false), (no, .unasked("-"), false), (no, no, false),
        (unknown, unknown, true), (.unasked("-"), .unasked("-"), true), (.yes, unknown, true),
    ])
    func clientsMustBeForwardedAndTranslatedWhateverWasBefore(forwarded: Fact, translated: Fact, passes: Bool) throws {
        let after = try [Self.finding(forwarded, translated)]
        for before in try [[], after, [Self.finding()], [Self.finding(Self.no)]] {
            #expect((gate(before: before, after: after) == .passed) == passes)
        }
    }

    /// A target before, now, from the instance itself, and whether the trial goes on.
    @Test(arguments: [
        (Fact.yes, Fact.yes, Fact.unasked("-"), true),
        (.yes, no, .yes, false), (.yes, no, no, false), (.yes, unknown, unknown, true),
        (no, .yes, .unasked("-"), true), (no, no, .yes, true), (no, no, no, true),
        (nil, .yes, .unasked("-"), true), (nil, no, .yes, false), (nil, no, no, true), (nil, no, unknown, true),
        (unknown, no, .yes, false), (unknown, no, no, true),
    ])
    func targetsMustAnswerUnlessTheyWereDown(before: Fact?, after: Fact, instance: Fact, passes: Bool) throws {
        let earlier = try before.map { [try Self.finding(answered: $0)] } ?? []
        let now = try Self.finding(answered: after, instance: instance)
        #expect((gate(before: earlier, after: [now]) == .passed) == passes)
    }

    /// What is known is what was asked last, and only of the target that was asked.
    @Test
    func whatIsAskedAnewReplacesWhatWasKnown() throws {
        var other = try Self.finding(answered: .yes)
        other.target = try ProbeTarget("tcp:203.0.113.8:443")
        let known = try [Self.finding(), Self.finding(answered: .yes), other]
        let fresh = try [Self.finding(Self.no), Self.finding(answered: Self.no)]
        let before = known.updated(by: fresh)
        #expect(before == [known[0], other, fresh[1]])
        let after = try Self.finding(answered: Self.no, instance: Self.no)
        #expect(gate(before: known, after: [after]) != .passed && gate(before: before, after: [after]) == .passed)
        #expect(known.updated(by: []) == known)
    }

    @Test
    func conditionsTellFamilyFactAndReason() throws {
        let shown = conditions(
            of: try [
                Self.finding(.no("rule 3 of chain FORWARD drops them"), .unasked("-")), Self.finding(),
                Self.finding(.yes, .no("10.0.0.3 leaves under its own address"), family: .ipv6),
                Self.finding(answered: .no("no answer within 3 s"), instance: .yes),
                Self.finding(answered: .no("Connection refused"), instance: .no("Connection refused"), family: .ipv6),
                Self.finding(Self.unknown, Self.unknown, family: .ipv6), Self.finding(.unasked("-"), .unasked("-")),
            ])
        #expect(
            shown.map { "\($0.code): \($0.message)" } == [
                "probe-failed: IPv4, web/egress: clients are not forwarded: rule 3 of chain FORWARD drops them",
                "target-unreachable: IPv4, web/egress, to tcp:203.0.113.7:443: does not answer clients, "
                    + "and answers the instance itself: no answer within 3 s",
                "probe-failed: IPv6, web/egress: clients are not translated: 10.0.0.3 leaves under its own address",
                "target-unreachable: IPv6, web/egress, to tcp:203.0.113.7:443: answers neither clients "
                    + "nor the instance itself: Connection refused",
                "not-probed: IPv6, web/egress: not probed: no veth",
            ])
        #expect(conditions(of: [try Self.finding()]) == [])
    }
}
