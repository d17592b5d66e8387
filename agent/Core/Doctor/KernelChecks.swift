// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: natfleet contributors

import NATPolicy
import NetAddress
import Netfilter

func forwardingCheck(_ family: IPFamily, _ found: Inspection) -> Check {
    let key = family.forwardingKey
    let isWanted = found.isForwardingWanted(family)
    guard let value = found[family]?.forwarding else {
        return Check(
            "forwarding", family, isWanted ? .bad : .ok, "the kernel has no \(key): \(family.label) is off here",
            fix: isWanted ? "turn \(family.label) on, or take it out of the policy" : nil)
    }
    let isOn = value != "0"
    func check(_ verdict: Check.Verdict, _ why: String, fix: String? = nil) -> Check {
        Check("forwarding", family, verdict, "\(key) is \(value)\(why)", fix: fix)
    }
    guard found.isPolicyKnown else { return check(.ok, "; what the policy wants is not known") }
    switch (isWanted, isOn) {
    case (true, true): return check(.ok, "")
    case (true, false): return check(.bad, ", and the policy wants 1: no client gets out", fix: repair(found))
    case (false, false):
        if found.compiled?.heldBack.contains(family) == true {
            return check(
                .warn, ": the policy forwards it, and this host has no default route of it",
                fix: "give the host a default route, or take the family out of spec.forwarding")
        }
        return check(.ok, ", as it should be: no policy forwards \(family.label)")
    case (false, true):
        let own = try? found[family]?.rules.get()
        if own?.isEmpty ?? true, found.compiled == nil {
            return check(
                .warn, " and natfleet has no policy here: private sources may leave untranslated",
                fix: "find out who forwards on this host, or turn it off: sysctl -w \(key)=0")
        }
        return check(.ok, ": the policy leaves it as it is")
    }
}

func rulesCheck(_ family: IPFamily, _ found: Inspection) -> Check {
    let save = family.program + "-save"
    guard let read = found[family] else { return Check("rules", family, .bad, "not read") }
    let rules: OwnedState
    do throws(KernelError) {
        rules = try read.rules.get()
    } catch {
        return Check(
            "rules", family, .bad, error.description,
            fix: "run '\(save)' as root and mend what it says: natfleet cannot work with rules that it cannot list")
    }
    var check = judge(rules, family, read, found)
    check.rules = rules.lines
    return check
}

private func judge(_ rules: OwnedState, _ family: IPFamily, _ read: Inspection.Family, _ found: Inspection) -> Check {
    if found.applied != nil, found.compiled == nil {
        return Check("rules", family, .warn, "\(rules.summary), and nobody knows what they should be: see policy")
    }
    let wanted: OwnedState
    do throws(KernelError) {
        wanted = try read.wanted.get()
    } catch {
        return Check(
            "rules", family, .warn, "\(rules.summary), not compared: \(error)", fix: "run this as root, see the reason")
    }
    let wrong = differences(of: rules, from: wanted).map(\.description)
    if let first = wrong.first {
        let more = wrong.count > 1 ? "; and \(wrong.count - 1) more" : ""
        // Between two policies rules are neither's.
        let isTrial = found.trial != nil && found.agentRuns
        return Check(
            "rules", family, isTrial ? .warn : .bad, "differ from the policy: \(first)\(more)", fix: repair(found),
            details: Array(wrong.dropFirst().prefix(20)))
    }
    let displaced = rules.displacements
    guard displaced.isEmpty else {
        return Check(
            "rules", family, .warn, "\(rules.summary), as the policy says; others' rules stand above them",
            fix: "see that none of the rules above drops or accepts what natfleet should carry", details: displaced)
    }
    return Check("rules", family, .ok, "\(rules.summary), as \(wanted.isEmpty ? "it should be" : "the policy says")")
}

/// Back ends, and what the kernel is set to besides forwarding.
func settingsChecks(_ found: Inspection) -> [Check] {
    var checks: [Check] = []
    if let facts = found.facts {
        let own = "iptables-\(facts.iptables.backend.rawValue) \(facts.iptables.version)"
        let conflict = found.compiled.flatMap { facts.backEndConflict(with: $0.ruleset) }
        if let conflict {
            checks.append(
                Check(
                    "back-ends", nil, .bad, conflict,
                    fix:
                        "keep one: delete the rules of the other (iptables-legacy-save and iptables-nft-save show them)"
                )
            )
        } else if let others = facts.iptables.otherRules {
            checks.append(
                Check(
                    "back-ends", nil, .warn, "\(own) is in use, and the other back end holds rules too",
                    fix: "delete the rules of one: natfleet loads none beside them", details: others))
        } else {
            checks.append(Check("back-ends", nil, .ok, "\(own), and no rule in the other back end"))
        }
    }
    guard !found.settings.isEmpty else { return checks }
    let wrong = found.settings.filter { $0.found != $0.wanted }
    checks.append(
        wrong.isEmpty
            ? Check(
                "settings", nil, .ok, "\(found.settings.count) kernel settings are as the policy needs them",
                details: found.settings.map { "\($0.key) = \($0.found)" })
            : Check(
                "settings", nil, .bad,
                wrong.map { "\($0.key) is \($0.found), wanted \($0.wanted)" }.joined(separator: "; "),
                fix: repair(found)))
    return checks
}

extension OwnedState {
    /// `12 rules in 3 chains`
    var summary: String {
        let chains = Table.allCases.flatMap { self[$0].chains.values }
        guard !chains.isEmpty else { return "none of natfleet's" }
        return "\(chains.map(\.count).reduce(0, +)) rules in \(chains.count) chains"
    }

    /// Jumps first, then chain by chain, as packets go.
    var lines: [Check.RuleLine] {
        func without(_ chain: String, _ text: String) -> String {
            String(text.dropFirst("-A ".count + chain.count + 1))
        }
        return [Table.nat, .filter].flatMap { table in
            self[table].jumps.map { jump in
                Check.RuleLine(
                    table: table.rawValue, chain: jump.from, number: jump.position,
                    rule: without(jump.from, jump.line))
            }
                + self[table].chains.sorted { $0.key < $1.key }.flatMap { chain, rules in
                    rules.enumerated().map { index, rule in
                        Check.RuleLine(
                            table: table.rawValue, chain: chain, number: index + 1, packets: rule.counters?.packets,
                            bytes: rule.counters?.bytes, rule: without(chain, rule.text))
                    }
                }
        }
    }
}
