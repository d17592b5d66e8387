// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: natfleet contributors

import FleetModel
import NATPolicy
import NetAddress

func flowChecks(_ found: Inspection) -> [Check] {
    var checks = [conntrackCheck(found)]
    guard let clients = found.clients else { return checks }
    if found.untranslated.isEmpty {
        checks.append(Check("clients", nil, .ok, "\(clients) with translated connections now, none untranslated"))
    } else {
        let flows = found.untranslated.prefix(5).map { flow in
            "\(flow.original.source) to \(flow.original.destination)"
        }
        checks.append(
            Check(
                "clients", nil, .bad,
                "\(found.untranslated.count) connections go untranslated, though the rules would translate them",
                fix: found.agentRuns
                    ? "conntrack -D -s SOURCE ends one: the next is translated"
                    : "start the agent, which ends them: systemctl start natfleet-agent", details: flows))
    }
    return checks
}

private func conntrackCheck(_ found: Inspection) -> Check {
    guard let usage = found.conntrack, usage.max > 0 else {
        return Check(
            "connection-tracking", nil, found.compiled?.masquerades.isEmpty == false ? .bad : .ok,
            "the kernel tracks no connections",
            fix: found.compiled?.masquerades.isEmpty == false ? "load it: modprobe nf_conntrack" : nil)
    }
    let share = usage.count * 100 / usage.max
    let counters = usage.counters.map {
        "since boot: \($0.insertFailed) insertions failed, \($0.dropped) packets dropped, \($0.droppedEarly) entries "
            + "thrown out early"
    }
    let message = "\(usage.count) of \(usage.max) connections, \(share) %"
    // Beyond these a burst fills the rest before anybody looks.
    let verdict: Check.Verdict = share >= 95 ? .bad : share >= 80 ? .warn : .ok
    return Check(
        "connection-tracking", nil, verdict, message,
        fix: verdict == .ok ? nil : "raise spec.conntrack.max in the policy, or share the clients among more instances",
        details: counters.map { [$0] } ?? [])
}

/// A line only where packets were sent.
func probeChecks(_ found: Inspection) -> [Check] {
    guard let findings = found.findings, !findings.isEmpty else { return [] }
    let shown = conditions(of: findings)
    guard let worst = shown.first(where: { $0.severity == .critical }) ?? shown.first else {
        let asked = findings.filter(\.forwarded.isYes).count
        guard asked > 0 else {
            return [
                Check(
                    "data-path", nil, .warn, "no client could be made to send from",
                    fix: "see the reasons; connect from a real client instead",
                    details: findings.compactMap(\.forwarded.reason))
            ]
        }
        return [Check("data-path", nil, .ok, "a client made for it got out, translated, \(asked) of \(asked) ways")]
    }
    return [
        Check(
            "data-path", nil, worst.severity == .critical ? .bad : .warn, worst.message, fix: worst.remedy,
            details: shown.filter { $0 != worst }.map(\.message))
    ]
}
