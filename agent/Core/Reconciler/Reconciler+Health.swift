// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: natfleet contributors

package import FleetModel
import NATPolicy
import NetAddress
import Netfilter

#if canImport(FoundationEssentials)
    import FoundationEssentials
#else
    import Foundation
#endif

/// What is looked at with every report, at the cost of a few small files.
extension Reconciler {
    struct Health {
        var watch = HealthWatch()
        var board = ConditionBoard()
        /// What the host had when the policy was applied and has no more.
        var lost: [LostFact] = []
        /// Interfaces that had lost something and have it again, until the flows of meanwhile were swept.
        var regained: Set<String> = []
        /// What the rules lacked at the last whole look, by family, and was not put back.
        var missingRules: [IPFamily: String] = [:]
        var link = LinkHealth()
        var probe = ProbeFlows()
        /// What was shown last.
        var shown: [Condition] = []
        /// What can be read of it; nil before anything was written.
        var told: [Condition]?
    }

    /// What the link to the controller tells; heard of before each look.
    package func hear(_ link: LinkHealth) { health.link = link }

    /// All that is wrong now, what only the instance itself shows included.
    package var shownConditions: [Condition] { health.shown }

    /// - Returns: what the controller has to hear.
    func updateConditions() -> [Condition] {
        let now = clock()
        // In a trial the settings are on their way.
        if attempt == nil { troubles[.health] = health.watch.conditions(readHealth(now), now: now) }
        health.shown = health.board.shown(Trouble.allCases.flatMap { troubles[$0] ?? [] }, now: now)
        tell()
        return health.shown.filter { ConditionKind.named($0.code)?.isLocal != true }
    }

    /// Writes what is shown where `status` reads it, when it is something else. Where that does not go nothing is to be
    /// read, rather than what was.
    private func tell() {
        guard let files = machinery.told, health.told != health.shown else { return }
        do throws(StateFileError) {
            try files.save(ToldConditions(conditions: health.shown, since: Date()), .told)
            health.told = health.shown
        } catch {
            try? files.remove(.told)
        }
    }

    private func readHealth(_ now: Double) -> HealthReading {
        var reading = HealthReading(
            conntrack: machinery.conntrack(), link: health.link, missingRules: health.missingRules)
        guard let plan = health.watch.plan else { return reading }
        for setting in plan.forwarding.values { reading.sysctls[setting.key] = try? kernel.sysctl(setting.key) }
        if health.watch.looksForClients(tracked: reading.conntrack?.count, now: now) {
            reading.hasClient = hasClient(plan)
        }
        return reading
    }

    private func hasClient(_ plan: HealthPlan) -> Bool? {
        // The agent before this one had the same clients, which are not known before the first probe.
        guard machinery.probe == nil || probePlan != nil else { return nil }
        let probe = health.probe
        let days = (try? kernel.sysctl("net.netfilter.nf_conntrack_tcp_timeout_established")).flatMap(\.self)
        let timeout = days.flatMap { UInt32($0) } ?? 432_000
        var isThere = false
        do throws(KernelError) {
            try machinery.flows.forEach { flow in
                isThere = isThere || flow.isRecent(establishedTimeout: timeout) && plan.isClient(flow, probe: probe)
            }
        } catch {
            return nil
        }
        return isThere
    }

    /// What runs from now on has other facts to be true.
    func watch(_ compiled: CompiledPolicy, on facts: HostFacts) { health.watch.plan = HealthPlan(compiled, on: facts) }
}

extension PreparedChange {
    /// What the rules in the kernel lack, by family.
    var missingRules: [IPFamily: String] {
        var missing: [IPFamily: String] = [:]
        for family in IPFamily.allCases where plans[family]?.isEmpty == false {
            missing[family] = differences.first { $0.hasPrefix(family.label) } ?? "\(family.label): rules differ"
        }
        return missing
    }
}
