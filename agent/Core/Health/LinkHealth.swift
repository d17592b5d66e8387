// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: natfleet contributors

import FleetModel

/// What the link to the controller tells of itself.
package struct LinkHealth: Hashable, Sendable {
    /// Seconds that the controller's clock was ahead of this machine's in its last answer, negative where it was behind;
    /// nil before the first.
    package var clockSkew: Double?
    /// Why the last request got no answer, nil where it got one.
    package var trouble: String?

    package init(clockSkew: Double? = nil, trouble: String? = nil) {
        self.clockSkew = clockSkew
        self.trouble = trouble
    }

    var conditions: [Condition] {
        var found: [Condition] = []
        if let clockSkew, let amount = Self.amount(clockSkew.magnitude) {
            let direction = clockSkew > 0 ? "behind" : "ahead of"
            found.append(
                Condition(.clockSkew, "the clock of this machine is more than \(amount) \(direction) the controller's"))
        }
        if let trouble { found.append(Condition(.controllerUnreachable, trouble)) }
        return found
    }

    /// In steps: a message that counted seconds would be news at each answer.
    private static func amount(_ seconds: Double) -> String? {
        switch seconds {
        case ...60: nil
        case ...600: "a minute"
        case ...3600: "10 minutes"
        case ...86_400: "an hour"
        default: "a day"
        }
    }
}
