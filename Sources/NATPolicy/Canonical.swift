// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: natfleet contributors

import Crypto

#if canImport(FoundationEssentials)
    package import FoundationEssentials
#else
    package import Foundation
#endif

/// The one way to write a policy as bytes, and the hash by which programs name it: sorted keys, plain slashes, no
/// blanks, and lists whose order means nothing in sorted order.
enum Canonical {
    static func json(_ value: some Encodable) -> Data {
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
        do {
            return try encoder.encode(value)
        } catch {
            // These types hold text, whole numbers and truth values: nothing that JSON could refuse.
            preconditionFailure("a policy can't be written as JSON: \(error)")
        }
    }

    static func hash(_ data: Data) -> String {
        let digits = Array("0123456789abcdef")
        return String(SHA256.hash(data: data).flatMap { [digits[Int($0 >> 4)], digits[Int($0 & 15)]] })
    }
}

extension PolicyDocument {
    /// Equal for two documents exactly when they mean the same.
    package func canonicalJSON() -> Data { Canonical.json(normalized()) }

    /// SHA-256 of the canonical JSON, 64 lower-case hexadecimal digits.
    package var hash: String { Canonical.hash(canonicalJSON()) }

    /// The same document with what has no order in sorted order and without repetition.
    package func normalized() -> PolicyDocument {
        var document = self
        document.spec = spec.normalized()
        return document
    }
}

extension EffectivePolicy {
    /// Equal for two effective policies exactly when an instance has to do the same for the same layers.
    package func canonicalJSON() -> Data { canonicalJSON(ForwardsJSON(of: self)) }

    /// SHA-256 of the canonical JSON, 64 lower-case hexadecimal digits: the truth of what is wanted (DESIGN section 7).
    package var hash: String { Canonical.hash(canonicalJSON()) }

    package func normalized() -> EffectivePolicy {
        var policy = self
        policy.masquerade = masquerade.map { Layered(policy: $0.policy, entry: $0.entry.normalized()) }
        policy.dnat = dnat.map { Layered(policy: $0.policy, entry: $0.entry.normalized()) }
        policy.probes = probes.map(sortedSet)
        return policy
    }
}

extension PolicySpec {
    /// The same, with what has no order in sorted order and without repetition.
    package func normalized() -> PolicySpec {
        var spec = self
        spec.selector.instances = sortedSet(selector.instances)
        spec.masquerade = masquerade.map { $0.normalized() }
        spec.dnat = dnat.map { $0.normalized() }
        spec.probes = probes.map(sortedSet)
        return spec
    }
}

extension Masquerade {
    fileprivate func normalized() -> Masquerade {
        var entry = self
        entry.families = families.map(sortedSet)
        if case .networks(let networks) = sources { entry.sources = .networks(sortedSet(networks)) }
        entry.except = sortedSet(except)
        return entry
    }
}

extension PortForward {
    func normalized() -> PortForward {
        var entry = self
        entry.sources = sortedSet(sources)
        return entry
    }
}

private func sortedSet<Element: Hashable & Comparable>(_ elements: [Element]) -> [Element] {
    elements.count < 2 ? elements : Set(elements).sorted()
}
