// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: natfleet contributors

import ControllerCore
import ControllerStore
import FleetAPI
import FleetModel
import Foundation
import GRDB
import NATPolicy
import Testing

/// Revisions, membership and conflicts of applied, deleted and undone policies.
struct ApplyTests {
    @Test func aChangedDocumentIsANewRevisionAndAnEqualOneIsNot() async throws {
        try await TestFleet.with { test in
            try await test.enroll("i-1", labels: ["vpc": "prod"])
            let first = try await test.apply(policy("web"))
            #expect(first == [PolicyChange(name: "web", action: .created, revision: 1, instances: ["i-1"])])
            let same = try await test.apply("# a comment\n" + policy("web"))
            #expect(same == [PolicyChange(name: "web", action: .unchanged, revision: 1, instances: ["i-1"])])
            let changed = try await test.apply(policy("web", source: "10.1.0.0/16"))
            #expect(changed == [PolicyChange(name: "web", action: .updated, revision: 2, instances: ["i-1"])])
            let history = try await test.fleet.revisions(of: "web")
            #expect(history.map(\.revision) == [2, 1])
            #expect(history.allSatisfy { $0.hash == $0.document.hash && $0.actor == "operator:admin" })
            #expect(try await test.fleet.instance("i-1").desiredLayers == [.init(policy: "web", revision: 2)])
            #expect(try await test.eventKinds().filter { $0 == "policy.applied" }.count == 2)
        }
    }

    @Test func whatIsStoredHashesToItsDocument() async throws {
        try await TestFleet.with { test in
            try await test.apply(policy("web"))
            let row = try #require(try await test.store.read { try $0.revision(1, of: "web") })
            #expect(sha256(row.document.utf8) == row.hash)
        }
    }

    @Test func oneFaultInOneFileChangesNothing() async throws {
        try await TestFleet.with { test in
            let error = try await failure {
                try await test.apply(policy("web") + "\n---\n" + policy("db"), policy("bad", source: "10.0.0.1/16"))
            }
            #expect(error.code == .invalidPolicy)
            #expect(try await test.fleet.policies().isEmpty)
            #expect(try await test.eventKinds().isEmpty)
        }
    }

    @Test(arguments: [
        [policy("web") + "\n---\n" + policy("web", source: "10.1.0.0/16")],
        [policy("web"), policy("web", source: "10.1.0.0/16")],
    ])
    func aPolicyThatIsThereTwiceIsRefused(texts: [String]) async throws {
        try await TestFleet.with { test in
            let files = texts.enumerated().map { PolicyFile(name: "\($0.offset).yaml", text: $0.element) }
            await #expect(throws: PolicyFaults.self) {
                try await test.fleet.apply(ApplyRequest(files: files), by: TestFleet.admin)
            }
            let stored = try await test.fleet.policies()
            #expect(stored.isEmpty)
        }
    }

    @Test func filesWithoutADocumentAreRefused() async throws {
        try await TestFleet.with { test in
            let none = try await failure { try await test.fleet.apply(ApplyRequest(files: []), by: TestFleet.admin) }
            #expect([.badRequest, .invalidPolicy].contains(none.code))
            await #expect(throws: (any Error).self) { try await test.apply("# nothing\n") }
        }
    }

    @Test func aDeletedPolicyGoesAndItsNumbersGoOn() async throws {
        try await TestFleet.with { test in
            try await test.enroll("i-1", labels: ["vpc": "prod"])
            try await test.apply(policy("web"), policy("db", source: "10.1.0.0/16"))
            let gone = try await test.fleet.delete(["web"], by: TestFleet.admin).policies
            #expect(gone == [PolicyChange(name: "web", action: .deleted, revision: 1, instances: ["i-1"])])
            #expect(try await test.fleet.policies().map(\.name) == ["db"])
            #expect(try await test.fleet.instance("i-1").desiredLayers == [.init(policy: "db", revision: 1)])
            #expect(try await failure { try await test.fleet.policy("web") }.code == .notFound)
            #expect(try await test.fleet.revisions(of: "web").count == 1)
            let back = try await test.apply(policy("web"))
            #expect(back == [PolicyChange(name: "web", action: .created, revision: 2, instances: ["i-1"])])
        }
    }

    @Test(arguments: [["web", "nothing"], ["nothing"], ["web", "web"], []])
    func deletingIsAllOrNothing(names: [String]) async throws {
        try await TestFleet.with { test in
            try await test.apply(policy("web"))
            let error = try await failure { try await test.fleet.delete(names, by: TestFleet.admin) }
            #expect(error.code == (names.contains("nothing") ? .notFound : .badRequest))
            #expect(try await test.fleet.policies().map(\.name) == ["web"])
        }
    }

    @Test func membershipFollowsSelectorsBothWays() async throws {
        try await TestFleet.with { test in
            try await test.enroll("i-1", labels: ["vpc": "prod"])
            try await test.enroll("i-2", labels: ["vpc": "test"])
            #expect(try await test.apply(policy("web")).first?.instances == ["i-1"])
            // Both who comes and who goes are concerned.
            let moved = try await test.apply(policy("web", labels: ["vpc": "test"]))
            #expect(moved.first?.instances == ["i-1", "i-2"])
            #expect(try await test.fleet.instance("i-1").desiredLayers.isEmpty)
            #expect(try await test.fleet.policy("web").instances.map(\.instance) == ["i-2"])
            try await test.apply(policy("web", labels: [:], instances: ["i-1"]))
            #expect(try await test.fleet.policy("web").instances.map(\.instance) == ["i-1"])
        }
    }

    @Test func aConflictNamesPoliciesAndInstancesAndChangesNothing() async throws {
        try await TestFleet.with { test in
            try await test.enroll("i-1", labels: ["vpc": "prod"])
            try await test.enroll("i-2", labels: ["vpc": "test"])
            try await test.apply(policy("web", ports: [8001]))
            let error = try await failure {
                try await test.apply(
                    policy("other", labels: [:], instances: ["i-2"]),
                    policy("clash", source: "10.1.0.0/16", ports: [8001]))
            }
            #expect(error.code == .layerConflict)
            for word in ["'web'", "'clash'", "i-1"] { #expect(error.message.contains(word)) }
            #expect(!error.message.contains("i-2"))
            #expect(try await test.fleet.policies().map(\.name) == ["web"])
            // The same two policies on different instances are no conflict.
            try await test.apply(policy("clash", labels: ["vpc": "test"], ports: [8001]))
        }
    }

    @Test func anOldConflictOfOthersDoesNotRefuseAChange() async throws {
        try await TestFleet.with { test in
            try await test.apply(policy("a", labels: ["a": "x"], ports: [8001]))
            try await test.apply(policy("b", labels: ["b": "x"], ports: [8001]))
            try await test.enroll("i-1", labels: ["a": "x", "b": "x", "vpc": "prod"])
            #expect(try await test.fleet.instance("i-1").desiredHash == nil)
            try await test.apply(policy("web"))
            #expect(try await failure { try await test.apply(policy("c", ports: [8001])) }.code == .layerConflict)
            // Mending it is welcome.
            try await test.apply(policy("b", labels: ["b": "x"], ports: [8002]))
            #expect(try await test.fleet.instance("i-1").desiredLayers.count == 3)
        }
    }
}

/// What an operator knew of a policy when applying, and said of it.
struct ExpectationTests {
    @Test(arguments: [(nil, true), (2, true), (1, false), (3, false), (0, false), (-1, false)] as [(Int?, Bool)])
    func whoeverWasFasterIsNotOverwritten(expected: Int?, isStored: Bool) async throws {
        try await TestFleet.with { test in
            try await test.enroll("i-1", labels: ["vpc": "prod"])
            try await test.apply(policy("web"))
            try await test.apply(policy("web", source: "10.1.0.0/16"))
            let request = ApplyRequest(
                files: [PolicyFile(name: "-", text: policy("web", source: "10.2.0.0/16"))], message: "why",
                expectRevision: expected)
            guard isStored else {
                let error = try await failure { try await test.fleet.apply(request, by: TestFleet.admin) }
                #expect(error.code == .conflict && error.remedy != nil)
                #expect(error.message.contains("is at revision 2"))
                #expect(try await test.fleet.policy("web").revision == 2)
                return
            }
            #expect(try await test.fleet.apply(request, by: TestFleet.admin).policies.first?.revision == 3)
            #expect(try await test.fleet.revisions(of: "web").first?.message == "why")
            #expect(try await test.fleet.events(EventFilter(limit: 1)).first?.detail.contains("(why)") == true)
        }
    }

    @Test func revisionZeroMeansThatThePolicyIsNotThere() async throws {
        try await TestFleet.with { test in
            let files = [PolicyFile(name: "-", text: policy("web"))]
            func apply(expecting revision: Int) async throws -> PolicyChange? {
                try await test.fleet.apply(ApplyRequest(files: files, expectRevision: revision), by: TestFleet.admin)
                    .policies.first
            }
            #expect(try await failure { try await apply(expecting: 1) }.message.contains("is not there"))
            #expect(try await apply(expecting: 0)?.action == .created)
            #expect(try await failure { try await apply(expecting: 0) }.code == .conflict)
            _ = try await test.fleet.delete(["web"], by: TestFleet.admin)
            #expect(try await failure { try await apply(expecting: 1) }.code == .conflict)
            #expect(try await apply(expecting: 0)?.revision == 2)
        }
    }

    @Test func ofTwoAtOnceOneWins() async throws {
        try await TestFleet.with { test in
            try await test.apply(policy("web"))
            let results = await withTaskGroup(of: Bool.self) { group in
                for net in 1...8 {
                    group.addTask {
                        let files = [PolicyFile(name: "-", text: policy("web", source: "10.\(net).0.0/16"))]
                        let request = ApplyRequest(files: files, expectRevision: 1)
                        return (try? await test.fleet.apply(request, by: TestFleet.admin)) != nil
                    }
                }
                return await group.reduce(into: []) { $0.append($1) }
            }
            #expect(results.count { $0 } == 1)
            #expect(try await test.fleet.policy("web").revision == 2)
        }
    }

    @Test func anExpectationIsForOnePolicyAndAMessageForReaders() async throws {
        try await TestFleet.with { test in
            let two = [PolicyFile(name: "-", text: policy("web") + "\n---\n" + policy("db"))]
            for request in [
                ApplyRequest(files: two, expectRevision: 0),
                ApplyRequest(files: two, message: String(repeating: "x", count: 1001)),
            ] {
                let error = try await failure { try await test.fleet.apply(request, by: TestFleet.admin) }
                #expect(error.code == .badRequest)
            }
            #expect(try await test.fleet.policies().isEmpty)
        }
    }

    /// The number of a refused revision goes to the next document: nothing may remember the refused one by it.
    @Test func aRefusedRevisionIsForgotten() async throws {
        try await TestFleet.with { test in
            try await test.enroll("i-1", labels: ["vpc": "prod"])
            try await test.apply(policy("web", ports: [8001]))
            #expect(
                try await failure { try await test.apply(policy("other", source: "10.1.0.0/16", ports: [8001])) }.code
                    == .layerConflict)
            try await test.apply(policy("other", source: "10.1.0.0/16", ports: [8002]))
            let agent = try await test.enroll("i-1", labels: ["vpc": "prod"])
            let desired = try #require(try await test.checkin(agent).desired)
            #expect(desired.policy.dnat.map(\.entry.name) == ["p8002", "p8001"])
        }
    }
}

/// `rollout undo`: old content as a new revision.
struct UndoTests {
    private func prepared(_ test: TestFleet) async throws {
        try await test.enroll("i-1", labels: ["vpc": "prod"])
        for net in 0...2 { try await test.apply(policy("web", source: "10.\(net).0.0/16")) }
    }

    @Test(arguments: [(nil, 2), (1, 1), (2, 2)] as [(Int?, Int)])
    func undoMakesANewRevisionWithTheOldContent(to target: Int?, same: Int) async throws {
        try await TestFleet.with { test in
            try await prepared(test)
            let change = try await test.fleet.undo("web", to: target, by: TestFleet.admin)
            #expect(change == PolicyChange(name: "web", action: .updated, revision: 4, instances: ["i-1"]))
            let history = try await test.fleet.revisions(of: "web")
            let newest = try #require(history.first)
            #expect(newest.hash == history.first { $0.revision == same }?.hash)
            #expect(newest.message == "undo to revision \(same)")
            #expect(
                try await test.fleet.events(EventFilter(limit: 1)).first?.detail.contains("undo to revision \(same)")
                    == true)
        }
    }

    @Test(arguments: [(3, ErrorCode.conflict), (9, .notFound), (0, .conflict), (-1, .conflict)])
    func undoThatMakesNoSenseIsRefused(to target: Int, code: ErrorCode) async throws {
        try await TestFleet.with { test in
            try await prepared(test)
            let error = try await failure { try await test.fleet.undo("web", to: target, by: TestFleet.admin) }
            #expect(error.code == code)
            #expect(error.remedy != nil)
            #expect(try await test.fleet.revisions(of: "web").count == 3)
        }
    }

    @Test func undoOfTheFirstRevisionAndOfAnUnknownPolicyAreRefused() async throws {
        try await TestFleet.with { test in
            try await test.apply(policy("web"))
            #expect(
                try await failure { try await test.fleet.undo("web", to: nil, by: TestFleet.admin) }.code == .conflict)
            #expect(
                try await failure { try await test.fleet.undo("x", to: nil, by: TestFleet.admin) }.code == .notFound)
        }
    }

    @Test func undoBringsADeletedPolicyBack() async throws {
        try await TestFleet.with { test in
            try await prepared(test)
            _ = try await test.fleet.delete(["web"], by: TestFleet.admin)
            let change = try await test.fleet.undo("web", to: nil, by: TestFleet.admin)
            #expect(change == PolicyChange(name: "web", action: .created, revision: 4, instances: ["i-1"]))
        }
    }

    @Test func undoIntoAConflictIsRefused() async throws {
        try await TestFleet.with { test in
            try await test.enroll("i-1", labels: ["vpc": "prod"])
            try await test.apply(policy("web", ports: [8001]))
            try await test.apply(policy("web"))
            try await test.apply(policy("other", source: "10.1.0.0/16", ports: [8001]))
            let error = try await failure { try await test.fleet.undo("web", to: 1, by: TestFleet.admin) }
            #expect(error.code == .layerConflict)
            #expect(try await test.fleet.policy("web").revision == 2)
        }
    }
}
