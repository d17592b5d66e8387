// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: natfleet contributors

import FleetAPI
import FleetModel
import NATPolicy
package import NetAddress
import Netfilter

#if canImport(FoundationEssentials)
    package import FoundationEssentials
#else
    package import Foundation
#endif

/// Reads a machine for `status` and `doctor`, and changes nothing on it.
///
/// Works without a running agent, without a policy and with half of the machine broken: what cannot be read is a result of
/// its own. Rules are compared as the agent compares them: compiled for the host as it is now, spelled by loading them
/// into a throwaway network namespace.
package struct Inspector: Sendable {
    private let machinery: Machinery
    private let routes: @Sendable (IPFamily) async -> Result<[String], KernelError>

    /// - Parameter routes: lines of a family's main routing table, as `ip route show` prints them.
    package init(
        _ machinery: Machinery, routes: @escaping @Sendable (IPFamily) async -> Result<[String], KernelError>
    ) {
        self.machinery = machinery
        self.routes = routes
    }

    /// - Parameter whole: false for what `status` shows: neither connections nor saved files.
    package func look(now: Date, agentRunning: Bool?, whole: Bool) async -> Inspection {
        var found = Inspection(now: now, agentRunning: agentRunning)
        readState(&found)
        await readHost(&found)
        for family in IPFamily.allCases { found.families[family] = await read(family, found) }
        readSettings(&found)
        if whole {
            readFlows(&found)
            found.persistence = await readPersistence(found)
        }
        return found
    }

    private func readState(_ found: inout Inspection) {
        found.applied = load(AppliedState.self, .applied, &found.stateFaults)
        found.refusal = load(Refusal.self, .refusal, &found.stateFaults)
        found.trial = load(TrialJournal.self, .trial, &found.stateFaults)
        // What was confirmed and saved is no trial any more.
        if let id = found.trial?.id, id == found.applied?.trial { found.trial = nil }
        // What an agent that was killed has told is not the case any more.
        if found.agentRuns, let files = machinery.told { found.told = try? files.load(ToldConditions.self, .told) }
    }

    private func load<Value: Decodable>(_ type: Value.Type, _ name: StateFile, _ faults: inout [String]) -> Value? {
        do throws(StateFileError) {
            return try machinery.files.load(type, name)
        } catch {
            faults.append(error.description)
            return nil
        }
    }

    private func readHost(_ found: inout Inspection) async {
        do throws(KernelError) {
            found.facts = try await machinery.kernel.facts()
        } catch {
            found.factsFault = error.description
        }
        guard let applied = found.applied else { return }
        var facts = applied.facts
        if let now = found.facts {
            let kept = now.keepingLost(since: applied.facts, by: applied.desired.policy)
            (facts, found.lost) = (kept.facts, kept.lost.map(\.condition.message))
        }
        do throws(CompileError) {
            found.compiled = try compile(applied.desired.policy, on: facts)
        } catch {
            found.compileFault = brief(error.faults.map { "\($0) (fix: \($0.remedy))" })
            // What the agent keeps in repair meanwhile.
            found.compiled = try? compile(applied.desired.policy, on: applied.facts)
        }
    }

    private func read(_ family: IPFamily, _ found: Inspection) async -> Inspection.Family {
        let rules = await result { () throws(KernelError) in try await machinery.kernel.observe(family) }
        let wanted = await result { () throws(KernelError) in
            guard let compiled = found.compiled else { return OwnedState.none }
            var spelling = Spelling()
            return try await machinery.kernel.spell(
                compiled.ruleset[family].ownedState, family, actual: (try? rules.get()) ?? .none, &spelling)
        }
        return Inspection.Family(
            forwarding: (try? machinery.kernel.sysctl(family.forwardingKey)).flatMap(\.self), rules: rules,
            wanted: wanted, routes: await routes(family))
    }

    private func result<Value: Sendable>(
        _ body: () async throws(KernelError) -> Value
    ) async -> Result<Value, KernelError> {
        do throws(KernelError) { return .success(try await body()) } catch { return .failure(error) }
    }

    private func readSettings(_ found: inout Inspection) {
        let kernel = machinery.kernel
        func value(_ key: String) -> String? { (try? kernel.sysctl(key)).flatMap(\.self) }
        let ledger = (try? machinery.files.load([String: String].self, .sysctls)).flatMap(\.self) ?? [:]
        found.settings = (found.compiled?.sysctls ?? []).compactMap { setting in
            guard let now = value(setting.key) else { return nil }
            // A value that natfleet changed is told by what it was before.
            guard now == setting.value || setting.isDue(now: now, found: ledger[setting.key]) else { return nil }
            return Inspection.Setting(key: setting.key, wanted: setting.value, found: now)
        }
        let facts = found.facts ?? found.applied?.facts
        let outside = facts.flatMap { ($0.defaultRoute(.ipv6) ?? $0.defaultRoute(.ipv4))?.interface }
        found.routerAdvertisements = (outside ?? found.compiled?.outside[.ipv6]).map { interface in
            (interface, value("net.ipv6.conf.\(SysctlSetting.keyPart(interface)).accept_ra"))
        }
    }

    private func readFlows(_ found: inout Inspection) {
        guard let applied = found.applied, let compiled = found.compiled, let facts = found.facts else { return }
        // The agent's probe is no client.
        let probe = ProbeFlows(ProbePlan(compiled, of: applied.desired.policy, on: facts))
        let sweep = FlowSweep(
            from: compiled.ruleset, to: compiled.ruleset, facts: facts, ownAddresses: machinery.ownAddresses())
        var clients: Set<IPAddress> = []
        var untranslated: [TrackedFlow] = []
        do throws(KernelError) {
            try machinery.flows.forEach { flow in
                guard !probe.contains(flow) else { return }
                if flow.isSourceTranslated { clients.insert(flow.original.source) }
                if sweep.fault(of: flow) == .untranslated { untranslated.append(flow) }
            }
            (found.clients, found.untranslated) = (clients.count, untranslated)
        } catch {
            // Connection tracking has a check of its own, and says why.
            found.clients = nil
        }
    }

    private func readPersistence(_ found: Inspection) async -> PersistenceReport? {
        guard let persistence = machinery.persistence, let compiled = found.compiled else { return nil }
        var rules: [IPFamily: OwnedState] = [:]
        for (family, read) in found.families { rules[family] = try? read.wanted.get() }
        let ledger = (try? machinery.files.load([String: String].self, .sysctls)).flatMap(\.self) ?? [:]
        let sizing = ConntrackSizing(
            kernel: machinery.kernel, files: machinery.files, memoryKiB: machinery.memoryKiB)
        let size = found.applied.flatMap { sizing.kept($0.desired.policy) }
        return await persistence.check(
            PersistentState(rules: rules, sysctls: compiled.sysctls, found: ledger, conntrack: size))
    }
}
