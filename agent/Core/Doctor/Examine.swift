// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: natfleet contributors

import NetAddress

/// The debugging list: every check, in the order in which a person would go through it. Pure.
package func examine(_ found: Inspection) -> DoctorReport {
    var checks = [agentCheck(found), policyCheck(found)] + trialChecks(found) + hostChecks(found)
    for family in IPFamily.allCases {
        checks.append(defaultRouteCheck(family, found))
        if family == .ipv6 { checks += routerAdvertisementChecks(found) }
        checks.append(forwardingCheck(family, found))
        checks.append(rulesCheck(family, found))
    }
    checks += settingsChecks(found) + flowChecks(found) + probeChecks(found)
    checks += persistenceChecks(found) + controllerChecks(found)
    checks.append(clockCheck(found))
    return DoctorReport(checks)
}

/// What puts back what is wrong.
func repair(_ found: Inspection) -> String {
    found.agentRuns
        ? "run this again in half a minute: the agent puts it back; if not, read 'journalctl -u natfleet-agent'"
        : "start the agent, which puts it back: systemctl start natfleet-agent"
}
