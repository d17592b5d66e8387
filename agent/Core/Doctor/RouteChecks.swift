// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: natfleet contributors

import NATPolicy
import NetAddress

func hostChecks(_ found: Inspection) -> [Check] {
    if let fault = found.factsFault {
        return [
            Check(
                "host", nil, .bad, fault, fix: "make iptables and iproute2 work on this host; the agent needs them too")
        ]
    }
    guard !found.lost.isEmpty else { return [] }
    return [
        Check(
            "host", nil, .bad, found.lost.joined(separator: "; "),
            fix: "give the interface its address or route back; the rules stay as they were")
    ]
}

func defaultRouteCheck(_ family: IPFamily, _ found: Inspection) -> Check {
    let name = "default-route"
    let lines: [String]
    do throws(KernelError) {
        lines = try found[family]?.routes.get() ?? []
    } catch {
        return Check(name, family, .bad, error.description, fix: "make iproute2 work on this host")
    }
    if let route = lines.first(where: { $0.hasPrefix("default ") }) {
        return Check(name, family, .ok, route, details: lines.filter { $0 != route })
    }
    let message = "there is none"
    if found.isWanted(family) || found.applied?.facts.defaultRoute(family) != nil {
        return Check(
            name, family, .bad, "\(message): clients cannot leave by this host",
            fix: family == .ipv4
                ? "ip route add default via GATEWAY, and see that DHCP or your network manager keeps it"
                : "see which router sends advertisements: tcpdump -ni any icmp6; then 'ip -6 route'", details: lines)
    }
    return Check(
        name, family, family == .ipv4 ? .warn : .ok, "\(message), and no policy wants one",
        fix: family == .ipv4 ? "ip route add default via GATEWAY" : nil, details: lines)
}

/// While it forwards the kernel takes router advertisements with `accept_ra` 2 only (ip-sysctl). With 0 a network manager
/// takes them, or nobody has to.
func routerAdvertisementChecks(_ found: Inspection) -> [Check] {
    guard let (interface, value) = found.routerAdvertisements, let value else { return [] }
    let isForwarding = found[.ipv6]?.forwarding.map { $0 != "0" } ?? false
    let route = (try? found[.ipv6]?.routes.get())?.first { $0.hasPrefix("default ") }
    let isAdvertised = route?.contains(" proto ra ") ?? true
    func check(_ verdict: Check.Verdict, _ message: String, fix: String? = nil) -> Check {
        Check("router-advertisements", .ipv6, verdict, "accept_ra of \(interface) is \(value): \(message)", fix: fix)
    }
    switch value {
    case "0":
        return [
            check(
                .ok,
                route == nil
                    ? "the kernel leaves them to a network manager"
                    : isAdvertised
                        ? "a network manager takes them, which is right" : "the default route does not come from them")
        ]
    case "2": return [check(.ok, "they are taken, while forwarding too")]
    default:
        if !isForwarding { return [check(.ok, "they are taken while IPv6 is not forwarded")] }
        if !isAdvertised { return [check(.ok, "they are not taken, and the default route does not come from them")] }
        return [
            check(
                .bad, "they are not taken while forwarding, so the default route ends",
                fix: found.compiled == nil
                    ? "sysctl -w net.ipv6.conf.\(interface).accept_ra=2" : repair(found))
        ]
    }
}
