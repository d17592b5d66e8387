// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: natfleet contributors

import FleetAPI
import Logging
import NATPolicy
import NetAddress
import Netfilter

/// `natfleet-agent restore`: before the network is up, without a controller.
extension Reconciler {
    /// Puts back what is on disk, for boot, under the facts of then: no network, no controller. `applied.json` decides: a
    /// crash may lie between it and the rules beside it, which count only where it cannot be read.
    /// - Returns: false when that failed; the reason is logged.
    package func restore() async -> Bool {
        loadOnce()
        guard isReadable else { return await restoreRules() }
        guard let applied else {
            log.notice("nothing was applied yet, nothing to restore")
            return true
        }
        do {
            let compiled = try compile(applied.desired.policy, on: applied.facts)
            let found = try files.load([String: String].self, .sysctls) ?? [:]
            var change = Change(kernel: kernel, files: files)
            let target = Target(compiled).beforeTheNetwork(found)
            let done = try await change.perform(try await change.prepare(target))
            // What the distribution did not load, whatever its service says.
            log.notice(
                "restored",
                metadata: ["hash": "\(applied.desired.hash)", "differed": "\(brief(done.differences))"])
            return true
        } catch {
            return failedToRestore("\(error)", applied.desired.policy.forwarding.families)
        }
    }

    private func failedToRestore(_ reason: String, _ families: [IPFamily]) -> Bool {
        log.error("restore failed", metadata: ["reason": "\(reason)"])
        for said in ForwardingGate(kernel: kernel).close(families) { log.error("\(said)") }
        return false
    }

    /// Where nobody can tell which policy ran: the rules beside it, each of which was confirmed once, and forwarding in the
    /// families that have some. Other settings stay as the sysctl files at boot made them.
    private func restoreRules() async -> Bool {
        var found: [String: String] = [:]
        do {
            found = try files.load([String: String].self, .sysctls) ?? [:]
            let settings = try found.map { SysctlSetting($0.key, try kernel.sysctl($0.key) ?? $0.value) }
            let target = try Target(saved: files, keeping: settings)
            var change = Change(kernel: kernel, files: files)
            _ = try await change.perform(try await change.prepare(target))
            log.notice("restored the rules that were saved beside it")
            return true
        } catch {
            // Where natfleet turned it on it had found another value.
            return failedToRestore("\(error)", IPFamily.allCases.filter { found[$0.forwardingKey] != nil })
        }
    }
}
