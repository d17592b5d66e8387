// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: natfleet contributors

/// A kind of thing that can be wrong with an instance. Declared once; its meaning and remedy stand in the catalogue.
package struct ConditionKind: Hashable, Sendable {
    package enum Severity: String, Codable, Hashable, Comparable, Sendable {
        case warning
        case critical

        package static func < (left: Severity, right: Severity) -> Bool { left == .warning && right == .critical }
    }

    /// Stable, kebab-case.
    package let code: String
    package let severity: Severity
    /// An imperative sentence for the operator.
    package let remedy: String

    package static let policyRefused = ConditionKind(
        code: "policy-refused", severity: .critical,
        remedy: "read the reason, then change the policy or the host; the instance keeps what it had")
    package static let applyFailed = ConditionKind(
        code: "apply-failed", severity: .critical,
        remedy: "read which command said what on the instance; the agent tries again by itself")
    package static let notPersisted = ConditionKind(
        code: "not-persisted", severity: .critical,
        remedy: "read which file or unit is meant and make it writable or enable it; the agent tries again by itself")
    package static let savesOnStop = ConditionKind(
        code: "saves-on-stop", severity: .warning,
        remedy: "set it to no: stopping the service while a change is on trial would save the trial")
    package static let forwardsAtBoot = ConditionKind(
        code: "forwards-at-boot", severity: .warning,
        remedy: "remove the line: natfleet-forwarding.service turns forwarding on once the rules are there")
    package static let restoreFailed = ConditionKind(
        code: "restore-failed", severity: .warning,
        remedy: "read 'systemctl status' of the unit and start it again; rules of others may be missing")
    package static let conntrackNotSized = ConditionKind(
        code: "conntrack-not-sized", severity: .warning,
        remedy:
            "size net.netfilter.nf_conntrack_max on the machine that runs this container, or leave conntrack.max out")
    package static let layersConflict = ConditionKind(
        code: "layers-conflict", severity: .critical,
        remedy: "change one of the policies named; the instance keeps what it had")
    package static let twoBackEnds = ConditionKind(
        code: "two-back-ends", severity: .critical,
        remedy: "keep one: delete the rules of the other (iptables-legacy-save and iptables-nft-save show them)")
    package static let factsLost = ConditionKind(
        code: "facts-lost", severity: .warning,
        remedy: "give the interface its address or route back; the rules stay as they were")
    package static let trialReverted = ConditionKind(
        code: "trial-reverted", severity: .critical,
        remedy: "read the reason, change the policy or the host; the instance runs what it ran before")
    package static let driftRepaired = ConditionKind(
        code: "drift-repaired", severity: .warning,
        remedy: "find out who changed the rules or sysctls named; natfleet has put them back")
    package static let contended = ConditionKind(
        code: "contended", severity: .critical,
        remedy: "stop the program that keeps changing the chain named; natfleet puts it back every 30 s only")
    package static let familyHeldBack = ConditionKind(
        code: "family-held-back", severity: .warning,
        remedy: "give the host a default route of that family, or take the family out of spec.forwarding")

    package static let probeFailed = ConditionKind(
        code: "probe-failed", severity: .critical,
        remedy: "clients cannot get out: change the rule that is named, or the policy's sources and interface")
    package static let targetUnreachable = ConditionKind(
        code: "target-unreachable", severity: .warning,
        remedy: "see whether the target is up, or take it out of spec.probes")
    package static let notProbed = ConditionKind(
        code: "not-probed", severity: .warning,
        remedy: "remove the reason that is given; until then nobody proves that clients get out")

    package static let catalogue: [ConditionKind] = [
        .policyRefused, .applyFailed, .notPersisted, .layersConflict, .twoBackEnds,
        .trialReverted, .contended, .driftRepaired, .factsLost, .familyHeldBack, .savesOnStop, .forwardsAtBoot, .restoreFailed,
        .conntrackNotSized, .probeFailed, .targetUnreachable, .notProbed,
    ]

    package init(code: String, severity: Severity, remedy: String) {
        self.code = code
        self.severity = severity
        self.remedy = remedy
    }
}

/// A condition that an instance shows now.
package struct Condition: Codable, Hashable, Sendable {
    package var code: String
    package var severity: ConditionKind.Severity
    /// What is the case here, one line.
    package var message: String
    package var remedy: String

    package init(_ kind: ConditionKind, _ message: String) {
        self.code = kind.code
        self.severity = kind.severity
        self.message = message
        self.remedy = kind.remedy
    }
}
