// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: natfleet contributors

import NetAddress
import Netfilter

/// Table filter.
extension FamilyCompiler {
    /// NATFLEET-FWD: replies, our port forwards, what is masqueraded or excepted, the guard.
    func forwardRules(forwards: [Rule]) -> [Rule] {
        let rules = forwards + masquerades.flatMap(accepting) + guardRules
        guard !rules.isEmpty else { return [] }
        let replies = Rule(
            connection: [ConnectionMatch([.related, .established])],
            comment: "natfleet:established",
            target: .accept
        )
        return [replies] + rules
    }

    /// NATFLEET-OUT: clients on the outside interface would be redirected to go past this host; in IPv4 a sysctl stops
    /// that, in IPv6 the kernel has none.
    var outputRules: [Rule] {
        guard family == .ipv6, isForwarded else { return [] }
        return outside.filter(arrivals.contains).map { name in
            Rule(
                outInterface: name,
                transport: .icmpv6(type: 137),
                comment: "natfleet:redirects",
                target: .drop
            )
        }
    }

    /// Only what our own port forwards turned round: target, its port, and what was addressed before.
    var acceptedForwards: [PortRules] {
        forwards.flatMap { forward in
            forward.portRules(forward.entry.port) { admission in
                Rule(
                    source: admission.source,
                    destination: single(forward.entry.to.address),
                    transport: .ports(forward.entry.protocol, destination: forward.entry.to.ports),
                    connection: [translated(from: admission.destination, forward.entry)],
                    comment: forward.label,
                    target: .accept
                )
            }
        }
    }

    private func accepting(_ entry: CompiledMasquerade) -> [Rule] {
        exceptions(entry)
            + entry.sources.map { source in
                Rule(
                    source: source,
                    outInterface: entry.interface,
                    connection: [ConnectionMatch([.new])],
                    comment: entry.label,
                    target: .accept
                )
            }
    }

    /// What would leave untranslated: connections that nothing above accepts, and packets of none, which NAT never
    /// touches. Where the VPC's networks are unknown, also by the interface that clients arrive on; port forwards of
    /// others pass there (docs/adr/0001).
    private var guardRules: [Rule] {
        guard hasGuard else { return [] }
        return outside.flatMap { outside in
            privateNetworks.map { network in
                Rule(
                    source: network,
                    outInterface: outside,
                    connection: [ConnectionMatch([.invalid, .new])],
                    comment: "natfleet:guard",
                    target: .drop
                )
            }
                + guardedArrivals.map { arrival in
                    Rule(
                        inInterface: arrival,
                        outInterface: outside,
                        connection: [ConnectionMatch([.invalid, .new]), ConnectionMatch([.dnat], isInverted: true)],
                        comment: "natfleet:guard",
                        target: .drop
                    )
                }
        }
    }

    /// Empty where the sources tell all there is.
    private var guardedArrivals: [String] {
        facts.vpcCIDRs(family).isEmpty && !privateNetworks.contains(where: \.isEverything) ? arrivals : []
    }

    var sentences: [String] {
        guard hasGuard, !outside.isEmpty, !guardedArrivals.isEmpty else { return [] }
        return [
            "guard: the VPC's \(family.label) networks are not known, so whatever else arrives on "
                + "\(guardedArrivals.joined(separator: ", ")) does not leave by \(outside.joined(separator: ", "))"
        ]
    }
}
