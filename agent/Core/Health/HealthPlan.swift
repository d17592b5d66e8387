// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: natfleet contributors

package import NATPolicy
package import NetAddress

/// What has to be true for as long as a policy runs, and is cheap to look at: a few files, no program.
package struct HealthPlan: Hashable, Sendable {
    /// The setting that lets a family be forwarded.
    package var forwarding: [IPFamily: SysctlSetting]
    /// Whom the policy translates; empty where it translates nobody.
    package var sources: [CIDR]
    /// This host's.
    package var own: Set<IPAddress>

    package init(_ compiled: CompiledPolicy, on facts: HostFacts) {
        let families = compiled.forwarding.map { ($0.key.hasPrefix("net.ipv6.") ? IPFamily.ipv6 : .ipv4, $0) }
        forwarding = Dictionary(families) { first, _ in first }
        sources = compiled.masquerades.flatMap(\.sources)
        own = Set(facts.interfaces.flatMap { $0.addresses.map(\.address) })
    }

    /// Whether a flow is a client's: somebody whom the policy translates sent a packet through this host, not to it.
    ///
    /// - Parameter probe: the agent's own.
    package func isClient(_ flow: TrackedFlow, probe: ProbeFlows) -> Bool {
        let (source, destination) = (flow.original.source, flow.original.destination)
        guard !own.contains(source), sources.contains(where: { $0.contains(source) }), !probe.contains(flow) else {
            return false
        }
        if flow.isSourceTranslated { return true }
        // Excepted destinations; a neighbour's broadcast has no answer.
        return flow.status.contains(.seenReply) && (!own.contains(destination) || flow.isDestinationTranslated)
    }
}

extension TrackedFlow {
    /// Whether a packet of it came in the last ten minutes. Only established TCP connections stay for longer without one, for
    /// days, and what is left of that time tells.
    ///
    /// - Parameter establishedTimeout: net.netfilter.nf_conntrack_tcp_timeout_established, in seconds.
    package func isRecent(establishedTimeout: UInt32) -> Bool {
        original.transport != .tcp || timeout <= 600 || Int(timeout) + 600 >= Int(establishedTimeout)
    }
}
