// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: natfleet contributors

import ControllerCore
import FleetAPI
import FleetModel
import NATPolicy
import Testing

/// What a cordoned instance should run stays as it is, whatever changes; uncordoned, it should run what selects it then.
struct CordonTests {
    private static let admin = TestFleet.admin
    private static let before = [layer("web", 1)]

    private static func layer(_ policy: String, _ revision: Int) -> EffectivePolicy.Layer {
        .init(policy: policy, revision: revision)
    }

    /// i-1 and i-2 run web@1; i-2 is cordoned.
    private func with(_ body: (TestFleet, AgentIdentity) async throws -> Void) async throws {
        try await TestFleet.with { test in
            try await test.enroll("i-1", labels: ["vpc": "prod"])
            let agent = try await test.enroll("i-2", labels: ["vpc": "prod"])
            try await test.apply(policy("web"))
            _ = try await test.fleet.setCordoned(true, "i-2", by: Self.admin)
            try await body(test, agent)
        }
    }

    private func layers(_ test: TestFleet, _ id: String = "i-2") async throws -> [EffectivePolicy.Layer] {
        try await test.fleet.instance(id).desiredLayers
    }

    struct Change: Sendable, CustomTestStringConvertible {
        var testDescription: String
        var make: @Sendable (TestFleet) async throws -> [PolicyChange]
        /// What it says of i-2, a row a policy.
        var passed: [[String]]
        /// What i-1 should run then, and i-2 when it is uncordoned.
        var after: [EffectivePolicy.Layer]
    }

    static let changes = [
        Change(
            testDescription: "another revision", make: { try await $0.apply(policy("web", ports: [8001])) },
            passed: [["i-2"]], after: [layer("web", 2)]),
        Change(
            testDescription: "another policy",
            make: { try await $0.apply(policy("web"), policy("db", source: "10.1.0.0/16")) },
            passed: [[], ["i-2"]], after: [layer("db", 1), layer("web", 1)]),
        Change(
            testDescription: "a deletion", make: { try await $0.fleet.delete(["web"], by: admin).policies },
            passed: [["i-2"]], after: []),
        Change(
            testDescription: "an undo",
            make: {
                try await $0.apply(policy("web", ports: [8001]))
                return [try await $0.fleet.undo("web", to: nil, by: admin)]
            }, passed: [["i-2"]], after: [layer("web", 3)]),
        Change(
            testDescription: "another selector",
            make: { try await $0.apply(policy("web", labels: ["vpc": "lab"]), policy("all", labels: ["vpc": "prod"])) },
            passed: [["i-2"], ["i-2"]], after: [layer("all", 1)]),
        Change(
            testDescription: "one policy for another that claims the same",
            make: {
                _ = try await $0.fleet.setCordoned(false, "i-2", by: admin)
                try await $0.apply(policy("web", ports: [8001]))
                _ = try await $0.fleet.setCordoned(true, "i-2", by: admin)
                return try await $0.fleet.delete(["web"], by: admin).policies
                    + $0.apply(policy("new", source: "10.2.0.0/16", ports: [8001]))
            }, passed: [["i-2"], ["i-2"]], after: [layer("new", 1)]),
    ]

    @Test(arguments: changes) func aChangePassesItOverUntilItIsUncordoned(_ change: Change) async throws {
        try await with { test, agent in
            let isRecordoned = change.testDescription.contains("claims")
            let before = isRecordoned ? [Self.layer("web", 2)] : Self.before
            let changes = try await change.make(test)
            #expect(changes.map(\.cordoned) == change.passed)
            #expect(changes.allSatisfy { !$0.instances.contains("i-2") || $0.action == .unchanged })
            #expect(try await layers(test, "i-1") == change.after)
            #expect(try await layers(test) == before)
            #expect(try await test.checkin(agent).desired?.policy.layers == before)

            let answer = try await test.fleet.setCordoned(false, "i-2", by: Self.admin)
            #expect(answer.desiredLayers == change.after)
            #expect(try await test.fleet.instance("i-2").desiredHash == test.fleet.instance("i-1").desiredHash)
        }
    }

    @Test func anAgentHearsOfItWhenItIsUncordonedAndNotBefore() async throws {
        try await with { test, agent in
            let running = try #require(try await test.checkin(agent).desired)
            async let held = test.checkin(agent, .running(running), answered: running.hash, wait: 50)
            #expect(try await eventually { test.fleet.hub.waiting == 1 })
            try await test.apply(policy("web", ports: [8001]))
            #expect(test.fleet.hub.waiting == 1)
            _ = try await test.fleet.setCordoned(false, "i-2", by: Self.admin)
            #expect(try await held.desired?.policy.layers == [Self.layer("web", 2)])
            let event = try #require(try await test.fleet.events(EventFilter(limit: 1)).first)
            #expect(event.kind == "instance.uncordoned" && event.detail == "moves to web@2")
        }
    }

    @Test func whatItIsBehindWithIsNamedAgainWithoutAChange() async throws {
        try await with { test, _ in
            try await test.apply(policy("web", ports: [8001]))
            let again = try await test.apply(policy("web", ports: [8001]))
            #expect(
                again == [
                    PolicyChange(name: "web", action: .unchanged, revision: 2, instances: ["i-1"], cordoned: ["i-2"])
                ])
            _ = try await test.fleet.setCordoned(false, "i-2", by: Self.admin)
            _ = try await test.fleet.setCordoned(true, "i-2", by: Self.admin)
            #expect(try await test.apply(policy("web", ports: [8001])).map(\.instances) == [["i-1", "i-2"]])
        }
    }

    @Test func whatItNeverHadNeedNotLeaveIt() async throws {
        try await with { test, _ in
            try await test.apply(policy("db", source: "10.1.0.0/16"))
            let gone = try await test.fleet.delete(["db"], by: Self.admin).policies
            #expect(gone.map(\.cordoned) == [[]] && gone.map(\.instances) == [["i-1"]])
        }
    }

    @Test func labelsChangeAndItFollowsWhenItIsUncordoned() async throws {
        try await with { test, _ in
            try await test.apply(policy("lab", labels: ["vpc": "lab"], source: "10.1.0.0/16"))
            let answer = try await test.fleet.label("i-2", LabelRequest(set: ["vpc": "lab"]), by: Self.admin)
            #expect(answer.joined == [Self.layer("lab", 1)] && answer.left == Self.before)
            #expect(answer.instance.labels == ["vpc": "lab"] && answer.instance.desiredLayers == Self.before)
            let event = try #require(try await test.fleet.events(EventFilter(limit: 1)).first)
            #expect(event.detail == "set vpc=lab; when uncordoned, joins lab; when uncordoned, leaves web")
            // Back where it was: what counts is what selects it, not what it still runs.
            let back = try await test.fleet.label("i-2", LabelRequest(set: ["vpc": "prod"]), by: Self.admin)
            #expect(back.joined == Self.before && back.left == [Self.layer("lab", 1)])
            _ = try await test.fleet.label("i-2", LabelRequest(set: ["vpc": "lab"]), by: Self.admin)
            #expect(try await test.fleet.setCordoned(false, "i-2", by: Self.admin).desiredLayers == answer.joined)
        }
    }

    @Test func enrollingAgainMovesNothing() async throws {
        try await with { test, _ in
            try await test.apply(policy("web", ports: [8001]))
            let agent = try await test.enroll("i-2", labels: ["vpc": "prod", "later": "yes"])
            #expect(try await test.checkin(agent).desired?.policy.layers == Self.before)
            // Forgotten, it is a new instance, and nobody has cordoned that.
            _ = try await test.fleet.forget("i-2", by: Self.admin)
            try await test.enroll("i-2", labels: ["vpc": "prod"])
            #expect(try await layers(test) == [Self.layer("web", 2)])
        }
    }

    /// Else `uncordon` would lead into it.
    @Test func aConflictThatItWouldComeIntoIsRefused() async throws {
        try await with { test, _ in
            try await test.apply(policy("only", labels: [:], instances: ["i-2"], source: "10.1.0.0/16", ports: [8001]))
            let error = try await failure { try await test.apply(policy("web", ports: [8001])) }
            #expect(error.code == .layerConflict && error.message.contains("i-2") && !error.message.contains("i-1"))
            try await test.apply(policy("lab", labels: ["vpc": "lab"], source: "10.2.0.0/16", ports: [8001]))
            #expect(
                try await failure {
                    try await test.fleet.label("i-2", LabelRequest(set: ["vpc": "lab"]), by: Self.admin)
                }.code == .layerConflict)
            #expect(try await test.fleet.setCordoned(false, "i-2", by: Self.admin).desiredHash != nil)
        }
    }

    @Test func diffSaysWhomItWouldPassOver() async throws {
        try await with { test, _ in
            let diff = try await test.fleet.diff(
                DiffRequest(files: [PolicyFile(name: "-", text: policy("web", ports: [8001]))]), by: Self.admin)
            #expect(diff.policies.map(\.cordoned) == [["i-2"]])
            #expect(diff.instances.map(\.instance) == ["i-1"])
        }
    }
}
