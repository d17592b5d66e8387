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
    /// Whether a client's flow is tracked; nil where nobody looked.
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
    /// Seconds between two looks for clients.
    private static let clientPeriod = 30.0

    /// What runs; nil where nothing does, or nobody could say yet what it means here.
    package var plan: HealthPlan? {
        didSet { if plan != oldValue { (hasSeenClient, lookedAt) = (false, -.infinity) } }
    }
    private var hasSeenClient = false
    private var lookedAt = -Double.infinity
    private var conntrack = ConntrackWatch()

    package init() {}

    /// Whether to look for clients: that costs a walk through all tracked flows, so until one was seen, and not each time.
    package func looksForClients(now: Double) -> Bool {
        plan?.sources.isEmpty == false && !hasSeenClient && now - lookedAt >= Self.clientPeriod
    }

    /// All that is the case.
    package mutating func conditions(_ reading: HealthReading, now: Double) -> [Condition] {
        var found = reading.link.conditions
        if let hasClient = reading.hasClient { (hasSeenClient, lookedAt) = (hasClient, now) }
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
        if !plan.sources.isEmpty, lookedAt > -.infinity, !hasSeenClient {
            found.append(
                Condition(.noClientTraffic, "no packet of a client has come through since this policy runs here"))
        }
        return found
    }
}
