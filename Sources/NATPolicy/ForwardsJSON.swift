// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: natfleet contributors

#if canImport(FoundationEssentials)
    package import FoundationEssentials
#else
    package import Foundation
#endif

/// The port forwards of a policy as its canonical JSON has them. Of ten thousand they are most of what there is to write, and the hash
/// of the policy and several files have them: they are written once.
package struct ForwardsJSON: Sendable {
    /// A list.
    package let bytes: Data

    private static let empty = Data(#""dnat":[]"#.utf8)

    package init(of policy: EffectivePolicy) {
        bytes = Canonical.json(
            policy.dnat.map { EffectivePolicy.Layered(policy: $0.policy, entry: $0.entry.normalized()) })
    }

    /// - Parameter json: of a value with one policy that has no port forwards, not pretty. A quote in a string of it would be escaped, and
    ///   no other member has that name.
    /// - Returns: the same with these port forwards.
    package func inserted(into json: Data) -> Data {
        guard let place = json.lastRange(of: Self.empty) else { return json }
        var result = Data(capacity: json.count + bytes.count)
        result.append(json[..<(place.upperBound - 2)])
        result.append(bytes)
        result.append(json[place.upperBound...])
        return result
    }
}

extension EffectivePolicy {
    package var withoutForwards: EffectivePolicy {
        var policy = self
        policy.dnat = []
        return policy
    }

    /// - Parameter forwards: of this policy.
    package func canonicalJSON(_ forwards: ForwardsJSON) -> Data {
        forwards.inserted(into: Canonical.json(withoutForwards.normalized()))
    }

    /// - Parameter forwards: of this policy.
    package func hash(_ forwards: ForwardsJSON) -> String { Canonical.hash(canonicalJSON(forwards)) }
}
