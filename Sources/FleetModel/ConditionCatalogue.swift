// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: natfleet contributors

/// Every condition there is. docs/conditions.md has a heading for each.
///
/// What stands in the way of clients is critical, also where natfleet has no part in it: an instance is never green while
/// a fact that NAT rests on is false. A cause is at least as severe as what follows from it and shows no later, so that
/// leaving out what follows never makes an instance look better.
extension ConditionKind {
    // MARK: What is wanted does not run

    package static let policyRefused = ConditionKind(
        code: "policy-refused", severity: .critical,
        remedy:
            "read the reason, then change the policy or the host; 'natfleet instance retry ID' has it tried again as it is; "
            + "the instance keeps what it had")
    package static let applyFailed = ConditionKind(
        code: "apply-failed", severity: .critical,
        remedy:
            "read which command or file said what, and mend that on the instance (a full disk, a missing program); "
            + "the agent tries again by itself")
    package static let tableUnreadable = ConditionKind(
        code: "table-unreadable", severity: .critical,
        remedy:
            "move the rules that 'nft list ruleset' shows in that table into an nft table with a name of its own: "
            + "tables called nat and filter belong to iptables")
    package static let layersConflict = ConditionKind(
        code: "layers-conflict", severity: .critical,
        remedy: "change one of the policies named; the instance keeps what it had")
    package static let twoBackEnds = ConditionKind(
        code: "two-back-ends", severity: .critical,
        remedy: "keep one: delete the rules of the other (iptables-legacy-save and iptables-nft-save show them)")
    package static let trialReverted = ConditionKind(
        code: "trial-reverted", severity: .critical,
        remedy:
            "read the reason, change the policy or the host; 'natfleet instance retry ID' has it tried again as it is; "
            + "the instance runs what it ran before")
    package static let familyHeldBack = ConditionKind(
        code: "family-held-back", severity: .critical,
        remedy: "give the host a default route of that family, or take the family out of spec.forwarding")

    // MARK: What ran does not any more

    package static let forwardingOff = ConditionKind(
        code: "forwarding-off", severity: .critical,
        remedy: "see why the agent cannot turn it on again: its log names the sysctl and what the kernel said")
    package static let rulesMissing = ConditionKind(
        code: "rules-missing", severity: .critical,
        remedy: "see why the agent cannot put them back: its log names the command and what it said")
    package static let driftRepaired = ConditionKind(
        code: "drift-repaired", severity: .warning,
        remedy: "find out who changed the rules or sysctls named; natfleet has put them back")
    package static let contended = ConditionKind(
        code: "contended", severity: .critical,
        remedy: "stop the program that keeps changing the chain named; natfleet puts it back every 30 s only")

    // MARK: The host has lost what the rules rest on

    package static let factsLost = ConditionKind(
        code: "facts-lost", severity: .critical,
        remedy: "give the host back what is named, or change the policy; the rules stay as they were")
    package static let outsideInterfaceMissing = ConditionKind(
        code: "outside-interface-missing", severity: .critical, after: 3,
        remedy: "attach the network interface again, or see what renamed it ('ip link'); the rules stay as they were")
    package static let outsideAddressMissing = ConditionKind(
        code: "outside-address-missing", severity: .critical, after: 3, dependsOn: [outsideInterfaceMissing],
        remedy:
            "see why the interface lost it ('ip address'; DHCP client, systemd-networkd); the rules stay as they were")
    package static let ipv4RouteLost = ConditionKind(
        code: "ipv4-route-lost", severity: .critical, after: 3,
        dependsOn: [outsideInterfaceMissing, outsideAddressMissing],
        remedy: "see 'ip route' and the DHCP client that brings the default route; the rules stay as they were")
    package static let ipv6RouteLost = ConditionKind(
        code: "ipv6-route-lost", severity: .critical, after: 3,
        dependsOn: [outsideInterfaceMissing, outsideAddressMissing],
        remedy:
            "see whether router advertisements come and are taken ('ip -6 route', 'tcpdump icmp6', accept_ra); "
            + "the rules stay as they were")

    private static let lostFacts = [
        factsLost, outsideInterfaceMissing, outsideAddressMissing, ipv4RouteLost, ipv6RouteLost,
    ]

    // MARK: What clients meet

    package static let probeFailed = ConditionKind(
        code: "probe-failed", severity: .critical, after: 3, dependsOn: lostFacts + [forwardingOff, rulesMissing],
        remedy: "clients cannot get out: change the rule that is named, or the policy's sources and interface")
    package static let targetUnreachable = ConditionKind(
        code: "target-unreachable", severity: .warning, after: 3,
        dependsOn: lostFacts + [forwardingOff, rulesMissing, probeFailed],
        remedy: "see whether the target is up, or take it out of spec.probes")
    package static let notProbed = ConditionKind(
        code: "not-probed", severity: .warning, after: 3, dependsOn: lostFacts + [forwardingOff, rulesMissing],
        remedy: "remove the reason that is given; until then nobody proves that clients get out")
    package static let noClientTraffic = ConditionKind(
        code: "no-client-traffic", severity: .warning, after: 600,
        dependsOn: lostFacts + [forwardingOff, rulesMissing, probeFailed],
        remedy:
            "turn off the instance's source/destination check and point the default routes of the private subnets' "
            + "route table at it; no matter where no client is up, or all are at rest")

    // MARK: Connection tracking

    package static let conntrackNotSized = ConditionKind(
        code: "conntrack-not-sized", severity: .warning,
        remedy:
            "size net.netfilter.nf_conntrack_max on the machine that runs this container, or leave conntrack.max out")
    package static let conntrackHigh = ConditionKind(
        code: "conntrack-high", severity: .warning, after: 30,
        remedy: "raise spec.conntrack.max, take a larger instance or spread the subnets over more of them")
    package static let conntrackFull = ConditionKind(
        code: "conntrack-full", severity: .critical,
        remedy:
            "raise spec.conntrack.max at once, then take a larger instance: a full table drops new connections")
    package static let connectionsDropped = ConditionKind(
        code: "connections-dropped", severity: .warning, dependsOn: [conntrackFull],
        remedy:
            "look for clients that open very many connections to one destination: an address has 64,512 ports towards "
            + "each; spread them over more instances")

    // MARK: Reboots

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
    package static let notRestoredAtBoot = ConditionKind(
        code: "not-restored-at-boot", severity: .warning,
        remedy:
            "have whatever starts programs here run 'natfleet-agent restore' before the network comes up, and start the "
            + "agent after it")

    // MARK: The way to the controller

    package static let clockSkew = ConditionKind(
        code: "clock-skew", severity: .warning, after: 120,
        remedy: "see that NTP runs here and on the controller ('timedatectl', 'chronyc tracking'): certificates are "
            + "valid by the clock")
    package static let controllerUnreachable = ConditionKind(
        code: "controller-unreachable", severity: .warning, after: 60, isLocal: true,
        remedy: "check NATFLEET_CONTROLLER, security groups, and that the controller runs; NAT stays as it is")

    package static let catalogue: [ConditionKind] = [
        policyRefused, applyFailed, tableUnreadable, layersConflict, twoBackEnds, trialReverted, familyHeldBack,
        forwardingOff, rulesMissing, driftRepaired, contended,
        factsLost, outsideInterfaceMissing, outsideAddressMissing, ipv4RouteLost, ipv6RouteLost,
        probeFailed, targetUnreachable, notProbed, noClientTraffic,
        conntrackNotSized, conntrackHigh, conntrackFull, connectionsDropped,
        notPersisted, savesOnStop, forwardsAtBoot, restoreFailed, notRestoredAtBoot,
        clockSkew, controllerUnreachable,
    ]

    private static let byCode = Dictionary(catalogue.map { ($0.code, $0) }) { first, _ in first }

    /// nil for a code of another version.
    package static func named(_ code: String) -> ConditionKind? { byCode[code] }
}
