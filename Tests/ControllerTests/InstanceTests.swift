// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: natfleet contributors

import ControllerCore
import ControllerStore
import FleetAPI
import FleetModel
import Foundation
import NATPolicy
import Testing

/// What operators do to instances: labels, cordons, forgetting.
struct InstanceTests {
    @Test func labelsMoveAnInstanceBetweenPoliciesAndWakeIt() async throws {
        try await TestFleet.with { test in
            let agent = try await test.enroll("i-1", labels: ["vpc": "prod"])
            try await test.apply(policy("web"), policy("lab", labels: ["vpc": "lab"], source: "10.1.0.0/16"))
            let before = try #require(try await test.checkin(agent).desired)
            async let held = test.checkin(agent, answered: before.hash, wait: 50)
            #expect(try await eventually { test.fleet.hub.waiting == 1 })
            let request = LabelRequest(set: ["vpc": "lab", "failover-group": "a"])
            let answer = try await test.fleet.label("i-1", request, by: TestFleet.admin)
            #expect(answer.joined == [.init(policy: "lab", revision: 1)])
            #expect(answer.left == [.init(policy: "web", revision: 1)])
            #expect(answer.instance.labels == ["vpc": "lab", "failover-group": "a"])
            #expect(answer.instance.desiredLayers == answer.joined)
            #expect(try await held.desired?.policy.layers == answer.joined)
            #expect(try await test.fleet.instance("i-1") == answer.instance)
            #expect(try await test.fleet.policy("lab").instances.map(\.instance) == ["i-1"])
            let event = try #require(try await test.fleet.events(EventFilter(limit: 1)).first)
            #expect(event.kind == "instance.labelled" && event.actor == "operator:admin")
            #expect(event.detail == "set failover-group=a, vpc=lab; joins lab; leaves web")
        }
    }

    @Test func labelsOfOperatorsOutliveAnEnrolmentAndThoseOfTheMachineDoNot() async throws {
        try await TestFleet.with { test in
            func enroll(labels: [String: String], claims: [String: String]) async throws {
                let token = try await test.token(for: "i-1", labels: labels)
                let csr = try AgentKey().csr()
                _ = try await test.fleet.enroll(EnrollRequest(csr: csr, joinToken: token, labels: claims))
            }
            try await enroll(labels: ["vpc": "lab"], claims: ["a": "1", "b": "1"])
            _ = try await test.fleet.label("i-1", LabelRequest(set: ["failover-group": "a"]), by: TestFleet.admin)
            try await enroll(labels: ["vpc": "prod"], claims: ["b": "2"])
            let labels = try await test.fleet.instance("i-1").labels
            #expect(labels == ["vpc": "prod", "failover-group": "a", "agent/b": "2"])
        }
    }

    @Test func aLabelThatIsTakenAwayTakesItsPoliciesAlong() async throws {
        try await TestFleet.with { test in
            try await test.enroll("i-1", labels: ["vpc": "prod", "b": "c"])
            try await test.apply(policy("web"))
            let answer = try await test.fleet.label(
                "i-1", LabelRequest(remove: ["vpc", "nothing"]), by: TestFleet.admin)
            #expect(answer.instance.labels == ["b": "c"])
            #expect(answer.left == [.init(policy: "web", revision: 1)])
        }
    }

    @Test func whatChangesNothingIsNoEvent() async throws {
        try await TestFleet.with { test in
            try await test.enroll("i-1", labels: ["vpc": "prod"])
            let events = try await test.eventKinds()
            let answer = try await test.fleet.label(
                "i-1", LabelRequest(set: ["vpc": "prod"], remove: ["x"]), by: TestFleet.admin)
            #expect(answer.joined.isEmpty && answer.left.isEmpty)
            _ = try await test.fleet.setCordoned(false, "i-1", by: TestFleet.admin)
            #expect(try await test.eventKinds() == events)
        }
    }

    @Test func labelsThatWouldMakeLayersConflictAreRefused() async throws {
        try await TestFleet.with { test in
            try await test.apply(
                policy("a", labels: ["a": "x"], ports: [8001]), policy("b", labels: ["b": "x"], ports: [8001]),
                policy("c", labels: ["c": "x"], source: "10.1.0.0/16"))
            try await test.enroll("i-1", labels: ["a": "x"])
            let error = try await failure {
                try await test.fleet.label("i-1", LabelRequest(set: ["b": "x", "d": "x"]), by: TestFleet.admin)
            }
            #expect(error.code == .layerConflict)
            for word in ["'a'", "'b'", "i-1"] { #expect(error.message.contains(word)) }
            #expect(try await test.fleet.instance("i-1").labels == ["a": "x"])
            // An instance that came up into a conflict may go on being labelled.
            try await test.enroll("i-2", labels: ["a": "x", "b": "x"])
            let answer = try await test.fleet.label("i-2", LabelRequest(set: ["c": "x"]), by: TestFleet.admin)
            #expect(answer.joined.map(\.policy) == ["c"] && answer.instance.desiredHash == nil)
            let mended = try await test.fleet.label("i-2", LabelRequest(remove: ["b"]), by: TestFleet.admin)
            #expect(mended.instance.desiredLayers.map(\.policy) == ["a", "c"])
            #expect(mended.instance.desiredHash != nil)
        }
    }

    @Test(arguments: [
        LabelRequest(), LabelRequest(set: ["agent/role": "x"]), LabelRequest(set: ["aws/az": "x"]),
        LabelRequest(remove: ["agent/role"]), LabelRequest(set: ["a b": "x"]), LabelRequest(set: ["a": "x\ny"]),
        LabelRequest(set: ["a": "x"], remove: ["a"]), LabelRequest(remove: ["a", "a"]),
        LabelRequest(remove: ["\u{1b}"]),
        LabelRequest(set: Dictionary(uniqueKeysWithValues: (0...64).map { ("k\($0)", "x") })),
    ])
    func labelsThatOperatorsCannotSetAreRefused(_ request: LabelRequest) async throws {
        try await TestFleet.with { test in
            try await test.enroll("i-1", labels: ["vpc": "prod"])
            let error = try await failure { try await test.fleet.label("i-1", request, by: TestFleet.admin) }
            #expect(error.code == .badRequest && error.remedy != nil)
            #expect(try await test.fleet.instance("i-1").labels == ["vpc": "prod"])
        }
    }

    @Test func aCordonShowsUntilItIsTakenAway() async throws {
        try await TestFleet.with { test in
            try await test.enroll("i-1", labels: ["vpc": "prod"])
            #expect(try await test.fleet.setCordoned(true, "i-1", by: TestFleet.admin).cordoned)
            _ = try await test.fleet.setCordoned(true, "i-1", by: TestFleet.admin)
            #expect(try await test.fleet.instances().map(\.cordoned) == [true])
            // Enrolling again does not end it.
            try await test.enroll("i-1", labels: ["vpc": "prod"])
            #expect(try await test.fleet.instance("i-1").cordoned)
            #expect(try await !test.fleet.setCordoned(false, "i-1", by: TestFleet.admin).cordoned)
            let kinds = try await test.eventKinds().filter { $0.contains("cordon") }
            #expect(kinds == ["instance.uncordoned", "instance.cordoned"])
        }
    }

    @Test func aForgottenInstanceIsGoneAndRefused() async throws {
        try await TestFleet.with { test in
            let token = try await test.token(for: "i-1")
            let key = AgentKey()
            let issued = try await test.fleet.enroll(EnrollRequest(csr: try key.csr(), joinToken: token))
            let agent = try await test.fleet.authenticate(certificate: try der(issued.certificate))
            try await test.apply(policy("web", labels: [:], instances: ["i-1"]))
            let desired = try #require(try await test.checkin(agent).desired)
            _ = try await test.checkin(agent, .running(desired))
            // A held check-in must not hear that nothing is wanted: the machine keeps its rules.
            async let held = test.checkin(agent, .running(desired), answered: desired.hash, wait: 50)
            #expect(try await eventually { test.fleet.hub.waiting == 1 })
            #expect(try await test.fleet.forget("i-1", by: TestFleet.admin).desiredHash == desired.hash)
            do {
                let answer = try await held
                Issue.record("answered \(answer)")
            } catch let error as FleetError {
                #expect(error.code == .unauthorized)
            }
            #expect(try await test.fleet.instances().isEmpty)
            #expect(try await test.fleet.policy("web").instances.isEmpty)
            let again = try await failure {
                try await test.fleet.authenticate(certificate: try der(issued.certificate))
            }
            #expect(again.code == .unauthorized && again.message.contains("not known here"))
            #expect(try await failure { try await test.checkin(agent, .idle) }.code == .unauthorized)
            #expect(try await failure { try await test.fleet.forget("i-1", by: TestFleet.admin) }.code == .notFound)
            try await test.fleet.flushSeen()
            // With a new token it is a new instance.
            try await test.enroll("i-1")
            #expect(try await test.fleet.instance("i-1").lastSeen == nil)
            #expect(try await test.fleet.instance("i-1").desiredLayers == [.init(policy: "web", revision: 1)])
        }
    }

    @Test func unknownInstancesAreNotFound() async throws {
        try await TestFleet.with { test in
            let admin = TestFleet.admin
            for error in [
                try await failure { try await test.fleet.label("x", LabelRequest(set: ["a": "b"]), by: admin) },
                try await failure { try await test.fleet.setCordoned(true, "x", by: admin) },
                try await failure { try await test.fleet.forget("x", by: admin) },
            ] {
                #expect(error.code == .notFound)
            }
        }
    }

    @Test(
        arguments: [
            (EventFilter(), ["d", "c", "b", "a"]),
            (EventFilter(limit: 1), ["d"]),
            (EventFilter(actor: "operator:ann"), ["d", "a"]),
            (EventFilter(actor: "ann"), ["d", "a"]),
            (EventFilter(actor: "i-1"), ["b"]),
            (EventFilter(actor: "controller"), ["c"]),
            (EventFilter(actor: "an"), []),
            (EventFilter(actor: "%"), []),
            (EventFilter(since: Date(timeIntervalSince1970: 3)), ["d", "c"]),
            (EventFilter(since: Date(timeIntervalSince1970: 3), actor: "ann"), ["d"]),
            (EventFilter(limit: 1, since: Date(timeIntervalSince1970: 0), actor: "ann"), ["d"]),
            (EventFilter(since: Date(timeIntervalSince1970: 4.001)), []),
        ] as [(EventFilter, [String])])
    func eventsAreFiltered(_ filter: EventFilter, _ expected: [String]) async throws {
        try await TestFleet.with { test in
            let rows = [("operator:ann", "a"), ("instance:i-1", "b"), ("controller", "c"), ("operator:ann", "d")]
            try await test.store.write { store in
                for (index, row) in rows.enumerated() {
                    let at = Timestamp(milliseconds: Int64(index + 1) * 1000)
                    try store.append(NewEvent(at: at, actor: row.0, kind: "x", subject: row.1, detail: ""))
                }
            }
            #expect(try await test.fleet.events(filter).map(\.subject) == expected)
        }
    }
}
