// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: natfleet contributors

import FleetModel

#if canImport(FoundationEssentials)
    import FoundationEssentials
#else
    import Foundation
#endif

func agentCheck(_ found: Inspection) -> Check {
    if let fault = found.stateFaults.first {
        return Check(
            "agent", nil, .bad, fault, fix: "run this as root; where a file is broken, restore it from a backup",
            details: Array(found.stateFaults.dropFirst()))
    }
    guard found.agentRuns else {
        return Check(
            "agent", nil, .warn, "does not run: NAT stays as it is, and nobody puts back what others change",
            fix: "systemctl start natfleet-agent")
    }
    return Check("agent", nil, .ok, "runs, version \(NatfleetVersion.current)")
}

func policyCheck(_ found: Inspection) -> Check {
    let running = found.applied.map { $0.layersText + ($0.confirmedAt.map { ", confirmed \(text($0))" } ?? "") }
    if let refusal = found.refusal {
        return Check(
            "policy", nil, .bad, "\(refusal.outcome.result.rawValue): \(refusal.outcome.detail)",
            fix: refusal.condition.remedy, details: [running.map { "runs \($0)" } ?? "nothing runs"])
    }
    if let fault = found.compileFault {
        return Check(
            "policy", nil, .bad, "what was applied cannot be true on this host any more: \(fault)",
            fix: "give the host back what it had, or change the policy; the rules stay as they were")
    }
    guard found.isPolicyKnown else {
        return Check(
            "policy", nil, .warn, "not known, since the state folder cannot be read", fix: "see the agent's line")
    }
    guard let running else {
        return Check(
            "policy", nil, .warn, "none was applied yet",
            fix: "apply a policy that selects this instance: natfleet apply -f FILE")
    }
    return Check("policy", nil, .ok, running)
}

/// A line only where there is a trial.
func trialChecks(_ found: Inspection) -> [Check] {
    guard let trial = found.trial else { return [] }
    let what = "a change to \(trial.desired.layersText) is on trial until \(text(trial.deadline))"
    if found.agentRuns {
        return [Check("trial", nil, .warn, what, fix: "run this again when it has ended: rules are in between")]
    }
    return [
        Check(
            "trial", nil, .bad, "\(what), and the agent that tried it has ended",
            fix: "start the agent, which takes it back: systemctl start natfleet-agent")
    ]
}

func persistenceChecks(_ found: Inspection) -> [Check] {
    guard let report = found.persistence else { return [] }
    let conditions = report.conditions
    guard let worst = conditions.min(by: { ($1.severity, $0.code) < ($0.severity, $1.code) }) else {
        return [Check("persistence", nil, .ok, "a reboot changes nothing; rules are kept by \(report.method)")]
    }
    return [
        Check(
            "persistence", nil, report.isPersisted ? .warn : .bad, worst.message, fix: worst.remedy,
            details: conditions.filter { $0 != worst }.map { "\($0.message) (fix: \($0.remedy))" }
                + ["rules are kept by \(report.method)"])
    ]
}

/// To the second, in UTC: `2030-01-31T12:00:00Z`.
func text(_ date: Date) -> String { date.formatted(.iso8601) }
