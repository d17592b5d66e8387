// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: natfleet contributors

#if canImport(FoundationEssentials)
    import FoundationEssentials
#else
    import Foundation
#endif

func controllerChecks(_ found: Inspection) -> [Check] {
    var checks: [Check] = []
    if let fault = found.configurationFault {
        checks.append(Check("configuration", nil, .bad, fault, fix: "correct it and restart the agent"))
    }
    if let reach = found.reach {
        let url = found.configuration?.controller ?? "the controller"
        checks.append(
            reach.fault.map { Check("controller", nil, .bad, "\(url): \($0)", fix: reach.remedy) }
                ?? Check("controller", nil, .ok, "\(url) answers, with the CA of NATFLEET_CA_HASH"))
    }
    checks.append(identityCheck(found))
    return checks
}

private func identityCheck(_ found: Inspection) -> Check {
    if let fault = found.identityFault {
        return Check("identity", nil, .bad, fault, fix: "run this as root; see docs/operations.md on the state folder")
    }
    guard let identity = found.identity else {
        let hasToken = found.configuration?.joinToken != nil
        return Check(
            "identity", nil, .warn, "this machine has not enrolled",
            fix: hasToken
                ? "start the agent: systemctl start natfleet-agent"
                : "run 'natfleet token create' and set NATFLEET_JOIN_TOKEN in agent.conf")
    }
    if found.now >= identity.expires {
        return Check(
            "identity", nil, .bad, "the certificate of \(identity.instanceID) ended \(text(identity.expires))",
            fix: "see that the clock is right and the agent reaches its controller; else give it a new join token")
    }
    if found.now < identity.starts {
        return Check(
            "identity", nil, .bad, "the certificate of \(identity.instanceID) begins \(text(identity.starts))",
            fix: "set the clock: it is behind")
    }
    return Check("identity", nil, .ok, "\(identity.instanceID), certificate until \(text(identity.expires))")
}

/// Certificates live for a day: minutes matter.
func clockCheck(_ found: Inspection) -> Check {
    let remedy = "run chrony or systemd-timesyncd; on EC2 the time server is 169.254.169.123"
    if let date = found.reach?.date {
        let ahead = Int(found.now.timeIntervalSince(date).rounded())
        let verdict: Check.Verdict = abs(ahead) >= 300 ? .bad : abs(ahead) >= 30 ? .warn : .ok
        // A date in a header has no fractions, and took its time to get here.
        let words = abs(ahead) <= 2 ? "agrees with" : "is \(abs(ahead)) s \(ahead > 0 ? "ahead of" : "behind")"
        return Check("clock", nil, verdict, "\(words) the controller's", fix: verdict == .ok ? nil : remedy)
    }
    switch found.isClockKept {
    case true?: return Check("clock", nil, .ok, "\(text(found.now)), kept by a time service")
    case false?:
        return Check("clock", nil, .warn, "\(text(found.now)), and no time service keeps it", fix: remedy)
    case nil: return Check("clock", nil, .ok, text(found.now))
    }
}
