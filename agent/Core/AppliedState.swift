// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: natfleet contributors

package import FleetAPI
import FleetModel
package import NATPolicy

#if canImport(FoundationEssentials)
    package import FoundationEssentials
#else
    package import Foundation
#endif

/// What was applied last and proven: kept on disk, re-applied at start without a controller.
package struct AppliedState: Codable, Hashable, Sendable {
    package var desired: DesiredState
    /// The facts that it was compiled for.
    package var facts: HostFacts
    /// When the controller confirmed it; nil for what an older agent wrote.
    package var confirmedAt: Date?
    /// Of the trial that ended in this (`TrialJournal.id`); nil for what an older agent wrote.
    package var trial: String?

    package init(desired: DesiredState, facts: HostFacts, confirmedAt: Date? = nil, trial: String? = nil) {
        self.desired = desired
        self.facts = facts
        self.confirmedAt = confirmedAt
        self.trial = trial
    }
}

extension StateFiles {
    func load<Value: Decodable>(_ type: Value.Type, _ name: StateFile) throws(StateFileError) -> Value? {
        guard let bytes = try read(name) else { return nil }
        do {
            return try WireJSON.decode(Value.self, from: Data(bytes))
        } catch {
            throw StateFileError("\(name.rawValue) cannot be understood: \(error)")
        }
    }

    func save(_ value: some Encodable, _ name: StateFile) throws(StateFileError) {
        try write(name, try encoded(value, name))
    }

    /// - Parameter forwards: those of its desired state.
    func save(_ value: some WithDesiredState, _ forwards: ForwardsJSON, _ name: StateFile) throws(StateFileError) {
        try write(name, try encoded(value, forwards, name))
    }
}

/// What is saved with the policy that it is about.
protocol WithDesiredState: Encodable {
    var desired: DesiredState { get set }
}

extension AppliedState: WithDesiredState {}
extension TrialJournal: WithDesiredState {}

/// The bytes are the same as without `forwards`, which are those of its desired state, but those are not written again.
func encoded(
    _ value: some WithDesiredState, _ forwards: ForwardsJSON, _ name: StateFile
) throws(StateFileError) -> [UInt8] {
    var rest = value
    rest.desired.policy = rest.desired.policy.withoutForwards
    do {
        return Array(forwards.inserted(into: try WireJSON.encode(rest)))
    } catch {
        throw StateFileError("\(name.rawValue) cannot be written: \(error)")
    }
}

func encoded(_ value: some Encodable, _ name: StateFile) throws(StateFileError) -> [UInt8] {
    do {
        return Array(try WireJSON.encode(value))
    } catch {
        throw StateFileError("\(name.rawValue) cannot be written: \(error)")
    }
}
