// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: natfleet contributors

import ControllerCore
import FleetAPI
import FleetModel
import Foundation
import NATPolicy
import Testing

/// The comparison of files with the fleet: it says what the apply does, and does nothing.
struct DiffTests {
    private func diff(_ test: TestFleet, _ texts: String...) async throws -> DiffResponse {
        let files = texts.map { PolicyFile(name: "-", text: $0) }
        return try await test.fleet.diff(DiffRequest(files: files), by: TestFleet.admin)
    }

    @Test func itSaysWhatTheApplyThenDoes() async throws {
        try await TestFleet.with { test in
            let agent = try await test.enroll("i-1", labels: ["vpc": "prod"])
            try await test.enroll("i-2", labels: ["vpc": "prod"])
            try await test.enroll("i-3", labels: ["vpc": "other"])
            try await test.enroll("i-4", labels: ["vpc": "prod"])
            try await test.apply(policy("web"), policy("same", labels: ["vpc": "other"]))
            var status = InstanceStatus.idle
            let facts = HostFacts(
                interfaces: [], routes: [], iptables: .init(backend: .nft, version: "1.8.9"), vpcCIDRs: [],
                publicAddresses: [], controller: [])
            status.facts = facts
            let before = try #require(try await test.checkin(agent, status).desired)
            _ = try await test.fleet.setCordoned(true, "i-2", by: TestFleet.admin)
            let events = try await test.eventKinds()

            let texts = [
                policy("web", ports: [8001]), policy("same", labels: ["vpc": "other"]),
                policy("new", labels: [:], instances: ["i-2", "i-4"], source: "10.9.0.0/16"),
            ]
            let diff = try await diff(test, texts[0], texts[1], texts[2])
            #expect(diff.policies.map(\.name) == ["web", "same", "new"])
            #expect(diff.policies.map(\.action) == [.updated, .unchanged, .created])
            #expect(diff.policies.map(\.oldRevision) == [1, 1, nil])
            #expect(diff.policies.map(\.newRevision) == [2, 1, 1])
            #expect(diff.policies[0].old?.spec.dnat.isEmpty == true && diff.policies[0].new.spec.dnat.count == 1)
            #expect(diff.policies[1].old == diff.policies[1].new && diff.policies[2].old == nil)
            #expect(diff.policies.map(\.cordoned) == [["i-2"], [], ["i-2"]])
            #expect(diff.instances.map(\.instance) == ["i-1", "i-4"])
            #expect(diff.instances.map(\.oldHash) == [before.hash, before.hash])
            #expect(diff.instances.map(\.facts) == [facts, nil])
            #expect(diff.effective[before.hash] == before.policy)
            #expect(
                Set(diff.effective.keys) == Set(diff.instances.flatMap { [$0.oldHash, $0.newHash] }.compactMap(\.self)))

            // Nothing happened.
            #expect(try await test.eventKinds() == events)
            #expect(try await test.fleet.policies().map(\.revision) == [1, 1])
            #expect(try await test.checkin(agent, status, answered: before.hash) == CheckinResponse())

            // And another document may take the number that was compared.
            try await test.apply(policy("web", source: "10.7.0.0/16"))
            let other = try #require(try await test.checkin(agent, status).desired)
            #expect(other.policy.dnat.isEmpty)
            let changes = try await test.apply(texts[0], texts[1], texts[2])
            #expect(changes.map(\.cordoned) == diff.policies.map(\.cordoned))
            let after = try await test.fleet.instances()
            #expect(after.map(\.desiredLayers.count) == [1, 1, 1, 2])
        }
    }

    @Test func whatTheApplyWouldMakeOfAnInstanceIsWhatItMakes() async throws {
        try await TestFleet.with { test in
            try await test.enroll("i-1", labels: ["vpc": "prod"])
            let diff = try await diff(test, policy("web", ports: [8001]))
            let instance = try #require(diff.instances.first)
            #expect(instance.oldHash == EffectivePolicy.none.hash)
            #expect(diff.effective[EffectivePolicy.none.hash] == EffectivePolicy.none)
            try await test.apply(policy("web", ports: [8001]))
            #expect(try await test.fleet.instance("i-1").desiredHash == instance.newHash)
        }
    }

    @Test func aMovedSelectorConcernsWhoLeavesToo() async throws {
        try await TestFleet.with { test in
            try await test.enroll("i-1", labels: ["vpc": "prod"])
            try await test.apply(policy("web"))
            let diff = try await diff(test, policy("web", labels: ["vpc": "lab"]))
            #expect(diff.instances.map(\.newHash) == [EffectivePolicy.none.hash])
        }
    }

    @Test func equalFilesDoNotDiffer() async throws {
        try await TestFleet.with { test in
            try await test.enroll("i-1", labels: ["vpc": "prod"])
            try await test.apply(policy("web"))
            let diff = try await diff(test, "# a comment\n" + policy("web"))
            #expect(diff.policies.map(\.action) == [.unchanged])
            #expect(diff.instances.isEmpty && diff.effective.isEmpty)
        }
    }

    @Test func itRefusesWhatTheApplyRefuses() async throws {
        try await TestFleet.with { test in
            try await test.enroll("i-1", labels: ["vpc": "prod"])
            try await test.apply(policy("web", ports: [8001]))
            let conflict = try await failure {
                try await diff(test, policy("other", source: "10.1.0.0/16", ports: [8001]))
            }
            #expect(conflict.code == .layerConflict)
            #expect(
                try await failure { try await diff(test, policy("web", source: "10.0.0.1/16")) }.code == .invalidPolicy)
            #expect(try await failure { try await diff(test) }.code == .badRequest)
        }
    }

    @Test func aConflictThatWasThereHasNoHash() async throws {
        try await TestFleet.with { test in
            try await test.apply(policy("a", labels: ["a": "x"], ports: [8001]))
            try await test.apply(policy("b", labels: ["b": "x"], ports: [8001]))
            try await test.enroll("i-1", labels: ["a": "x", "b": "x", "vpc": "prod"])
            let still = try await diff(test, policy("web", source: "10.1.0.0/16"))
            #expect(
                still.instances == [.init(instance: "i-1", oldHash: nil, newHash: nil, facts: nil)])
            let mended = try await diff(test, policy("b", labels: ["b": "x"], ports: [8002]))
            #expect(mended.instances.first?.oldHash == nil && mended.instances.first?.newHash != nil)
        }
    }
}
