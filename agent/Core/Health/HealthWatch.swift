// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: natfleet contributors

package import FleetModel
import NATPolicy
package import NetAddress

/// What was read of the machine at one moment.
package struct HealthReading: Sendable {
    /// Values of the plan's settings; a missing one could not be read.
    package var sysctls: [String: String]
    package var conntrack: ConntrackUsage?
    package var link: LinkHealth
    /// What the last whole look found the rules of a family to lack and could not put back, a sentence each.
    package var missingRules: [IPFamily: String]
    /// Whether a client's flow is tracked that a packet came for lately; nil where nobody looked.
    package var hasClient: Bool?

    package init(
        sysctls: [String: String] = [:], conntrack: ConntrackUsage? = nil, link: LinkHealth = LinkHealth(),
        missingRules: [IPFamily: String] = [:], hasClient: Bool? = nil
    ) {
        self.sysctls = sysctls
        self.conntrack = conntrack
        self.link = link
        self.missingRules = missingRules
        self.hasClient = hasClient
    }
}

/// Judges what is read every few seconds. What lasts long enough to be shown is `ConditionBoard`'s to say.
package struct HealthWatch: Sendable {
    /// Seconds between two looks for clients where more flows are tracked than at the one before, and otherwise.
    private static let clientPeriods = (busy: 30.0, quiet: 300.0)
    /// Clients that were there and were not seen for an hour are worth a word: this long, and what the condition takes to
    /// show.
    private static let silence = 3600 - ConditionKind.noClientTraffic.after

    /// What runs; nil where nothing does, or nobody could say yet what it means here.
    package var plan: HealthPlan? {
        didSet { if plan != oldValue { (clientSeenAt, lookedAt, quietCount) = (nil, -.infinity, 0) } }
    }
    private var clientSeenAt: Double?
    private var lookedAt = -Double.infinity
    /// How many flows were tracked when none was a client's, at the last look.
    private var quietCount = 0
    private var conntrack = ConntrackWatch()

    package init() {}

    /// Whether to look for clients: that costs a walk through the kernel's whole hash table, milliseconds with the lock of
    /// each bucket, so rarely once one was seen, or while no more flows are there than before.
    ///
    /// - Parameter tracked: flows in this network namespace; nil where nobody knows.
    package func looksForClients(tracked: Int?, now: Double) -> Bool {
        guard plan?.sources.isEmpty == false else { return false }
        let isBusy = clientSeenAt == nil && tracked.map { $0 > quietCount } ?? true
        return now - lookedAt >= (isBusy ? Self.clientPeriods.busy : Self.clientPeriods.quiet)
    }

    /// All that is the case.
    package mutating func conditions(_ reading: HealthReading, now: Double) -> [Condition] {
        var found = reading.link.conditions
        if let hasClient = reading.hasClient {
            lookedAt = now
            if hasClient { clientSeenAt = now }
            quietCount = reading.conntrack?.count ?? 0
        }
        found += conntrack.conditions(reading.conntrack, now: now)
        guard let plan else { return found }
        for family in IPFamily.allCases {
            if let setting = plan.forwarding[family], let value = reading.sysctls[setting.key], value != setting.value {
                let message = "\(family.label) is not forwarded: \(setting.key) is \(value)"
                found.append(Condition(.forwardingOff, message, family: family))
            }
            if let missing = reading.missingRules[family] {
                found.append(Condition(.rulesMissing, missing, family: family))
            }
        }
        if !plan.sources.isEmpty, lookedAt > -.infinity, let missed = missedClients(now) {
            found.append(Condition(.noClientTraffic, missed))
        }
        return found
    }

    private func missedClients(_ now: Double) -> String? {
        guard let clientSeenAt else { return "no packet of a client has come through since this policy runs here" }
        guard now - clientSeenAt >= Self.silence else { return nil }
        return "no packet of a client has come through for an hour or longer, and before that some had"
    }
}
