// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: natfleet contributors

/// How a revision of a policy reaches its instances.
package struct RolloutStrategy: Codable, Hashable, Sendable {
    /// What a policy may write for `confirmTimeout`, in seconds.
    package static let confirmTimeouts = 10...3600

    /// How long a trial on the instance may last before it is taken back unless the controller confirmed it, in seconds; nil:
    /// not said, which means `EffectivePolicy.defaultConfirmTimeout`.
    package var confirmTimeout: Int?

    package init(confirmTimeout: Int? = nil) { self.confirmTimeout = confirmTimeout }
}

extension PolicyReader {
    mutating func rollout(_ place: Place) -> RolloutStrategy? {
        let notYet = [
            "waves", "groupBy", "order", "maxInFlight", "minHealthy", "healthyDeadline", "bake", "maxFailures",
            "progressDeadline", "onFailure", "offline",
        ]
        guard let fields = fields(place, known: ["confirmTimeout"], notYet: notYet) else { return nil }
        guard let timeout = fields["confirmTimeout"].flatMap({ seconds($0, in: RolloutStrategy.confirmTimeouts) })
        else { return nil }
        return RolloutStrategy(confirmTimeout: timeout)
    }

    /// `120s` or `2m`.
    private mutating func seconds(_ place: Place, in range: ClosedRange<Int>) -> Int? {
        let remedy = "write it like 120s or 2m, from \(range.lowerBound)s to \(range.upperBound)s"
        guard case .scalar(let text, _) = place.node.content, let unit = ["s": 1, "m": 60][String(text.suffix(1))],
            text.utf8.dropLast().allSatisfy({ (0x30...0x39).contains($0) }), let number = Int(text.dropLast()),
            range.contains(number.multipliedReportingOverflow(by: unit).partialValue), number <= range.upperBound
        else {
            refuse("is not a time from \(range.lowerBound) to \(range.upperBound) seconds", at: place, remedy: remedy)
            return nil
        }
        return number * unit
    }
}
