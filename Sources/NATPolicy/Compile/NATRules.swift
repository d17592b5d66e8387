// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: natfleet contributors

import NetAddress
import Netfilter

/// Table nat.
extension FamilyCompiler {
    /// NATFLEET-PRE: one rule a port forward, address and source.
    var mappedForwards: [PortRules] {
        forwards.flatMap { forward in
            mappings(forward.entry).flatMap { ports, target in
                forward.portRules(ports) { admission in
                    Rule(
                        source: admission.source,
                        destination: single(admission.destination),
                        transport: .ports(forward.entry.protocol, destination: ports),
                        comment: forward.label,
                        target: .dnat(forward.entry.to.address, target)
                    )
                }
            }
        }
    }

    /// NATFLEET-POST begins with the port forwards whose clients are hidden, before exceptions could spare them.
    var hiddenForwards: [PortRules] {
        forwards.filter { !$0.hidden.isEmpty }.flatMap { forward in
            forward.destinations.map { destination in
                PortRules(
                    destination: destination, transport: forward.entry.protocol, ports: forward.entry.port,
                    rules: forward.hidden.map { source in
                        Rule(
                            source: source,
                            destination: single(forward.entry.to.address),
                            transport: .ports(forward.entry.protocol, destination: forward.entry.to.ports),
                            connection: [translated(from: destination, forward.entry)],
                            comment: forward.label,
                            target: .masquerade(randomFully: true)
                        )
                    })
            }
        }
    }

    /// The masquerades in their order, each with its exceptions before it, so that the first entry that matches decides.
    var masqueradeRules: [Rule] {
        masquerades.flatMap { entry in
            exceptions(entry)
                + entry.sources.map { source in
                    Rule(
                        source: source,
                        outInterface: entry.interface,
                        comment: entry.label,
                        target: .masquerade(randomFully: entry.randomFully)
                    )
                }
        }
    }

    /// What stays untranslated: the same rules in both tables, in filter without regard to the connection's state,
    /// since on the way there replies may take another path and connections look invalid from here.
    func exceptions(_ entry: CompiledMasquerade) -> [Rule] {
        entry.except.flatMap { destination in
            entry.sources.map { source in
                Rule(
                    source: source,
                    destination: destination,
                    outInterface: entry.interface,
                    comment: entry.label,
                    target: .accept
                )
            }
        }
    }

    func single(_ address: IPAddress) -> CIDR { CIDR(address, prefixLength: address.family.bits) }

    /// Only connections that a forward of ours turned round: by what they were addressed to before.
    func translated(from destination: IPAddress, _ entry: PortForward) -> ConnectionMatch {
        ConnectionMatch([.dnat], originalDestination: destination, originalPorts: entry.port)
    }

    /// Ports and what becomes of them: one rule for a range where the back end can shift it, else one a port.
    private func mappings(_ entry: PortForward) -> [(PortRange, TargetPorts)] {
        let target = entry.to.ports
        if entry.port.isSingle { return [(entry.port, .single(target.first))] }
        // The kernel keeps the port where --to-destination names none.
        if target == entry.port { return [(entry.port, .unchanged)] }
        if facts.shiftsPortRanges { return [(entry.port, .shifted(target, base: entry.port.first))] }
        return zip(entry.port.first...entry.port.last, target.first...target.last).compactMap { from, to in
            (try? PortRange(from)).map { ($0, .single(to)) }
        }
    }
}
