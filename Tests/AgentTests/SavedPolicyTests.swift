// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: natfleet contributors

import FleetAPI
import Foundation
import NATPolicy
import NetAddress
import Testing

@testable import AgentCore

/// Port forwards that are written once stand in every file as if each had written them.
struct SavedPolicyTests {
    @Test(arguments: [0, 1, 30])
    func theFilesAreWhatTheyWouldBeWithoutThat(_ count: Int) throws {
        var desired = try FakeHost.desired()
        let entry = try #require(desired.policy.dnat.first)
        // Text that looks like the empty list of a policy, of a policy's name and of the rules before.
        let name = #"{"dnat":[]}"#
        desired.policy.dnat = (0..<count).map { number in
            var forward = entry
            (forward.policy, forward.entry.name) = (name, "p\(number)")
            return forward
        }
        desired.policy.layers = [.init(policy: name, revision: 1)]
        let forwards = ForwardsJSON(of: desired.policy)
        let facts = try FakeHost.facts()
        let applied = AppliedState(
            desired: desired, facts: facts, confirmedAt: Date(timeIntervalSince1970: 1), trial: name)
        #expect(try encoded(applied, forwards, .applied) == encoded(applied, .applied))
        let journal = TrialJournal(
            id: name, desired: desired, facts: facts, deadline: Date(timeIntervalSince1970: 2), bootID: name,
            before: Snapshot(rules: [:], sysctls: [name: name], found: [:]))
        #expect(try encoded(journal, forwards, .trial) == encoded(journal, .trial))
        #expect(
            try WireJSON.decode(EffectivePolicy.self, from: desired.policy.canonicalJSON(forwards)) == desired.policy)
        #expect(desired.policy.hash(forwards) == desired.policy.hash)
    }
}
