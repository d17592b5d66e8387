// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: natfleet contributors

package import NATPolicy
package import NetAddress

/// Who uses this instance now, of the flows that the kernel tracks: sources of translated flows that were answered, and that
/// had a packet within the last two minutes.
///
/// Where a policy translates a family, its clients are those of its masquerades' sources. Where none does yet, somebody's
/// rules by hand may, and who is translated by them tells a mistyped source from a right one. There, and where everybody is
/// a source, clients are those that come from the VPC or by an interface that leads to a router: a host's own containers,
/// which its container engine translates, come from a bridge that leads nowhere.
///
/// Peers of port forwards are no clients, whatever hides them. Nor is the probe, whose flows are told from those of somebody
/// who has its address. Of an agent before this one, whose plan is not known, it is whoever sent a datagram to discard that
/// nobody answered, which is what the probe sends each half minute and the kernel remembers for as long.
package struct ClientsInUse: Sendable {
    /// Whom a policy would cut off has to be known, not each and every one.
    private static let limit = 4096
    /// Seconds: as long as the kernel keeps a connection that was closed.
    private static let patience: UInt32 = 120

    private let sources: [CIDR]
    private let translated: Set<IPFamily>
    private let facts: HostFacts
    private let routes: FlowRoutes
    private let connectionTimeout: UInt32?
    private var seen: Set<IPAddress> = []
    private let probe: ProbeFlows
    private var probes: Set<IPAddress> = []

    /// - Parameters:
    ///   - masquerades: of the policy that runs; empty where none does.
    ///   - probe: what is known to be no client's.
    ///   - connectionTimeout: seconds for which the kernel remembers an open connection without packets; nil where nobody
    ///     knows, so that all of them count.
    package init(
        of masquerades: [CompiledMasquerade], on facts: HostFacts, probe: ProbeFlows = ProbeFlows(),
        connectionTimeout: UInt32? = nil
    ) {
        sources = masquerades.flatMap(\.sources)
        translated = Set(masquerades.map(\.family))
        self.facts = facts
        routes = FlowRoutes(facts, ownAddresses: [])
        self.connectionTimeout = connectionTimeout
        self.probe = probe
    }

    package var clients: Set<IPAddress> { seen.subtracting(probes) }

    package mutating func see(_ flow: TrackedFlow) {
        guard !probe.contains(flow) else { return }
        let source = flow.original.source
        guard flow.status.contains(.seenReply) else {
            let isProbe = flow.original.transport == .udp && flow.original.destinationPort == ProbePlan.datagramPort
            if isProbe { probes.insert(source) }
            return
        }
        guard flow.isSourceTranslated, !flow.isDestinationTranslated, !flow.isInAnyZone, isRecent(flow),
            isClient(source),
            seen.count < Self.limit
        else { return }
        seen.insert(source)
    }

    private func isRecent(_ flow: TrackedFlow) -> Bool {
        guard flow.tcpState == TrackedFlow.established, let connectionTimeout else { return true }
        return flow.timeout >= connectionTimeout || connectionTimeout - flow.timeout <= Self.patience
    }

    private func isClient(_ source: IPAddress) -> Bool {
        let own = sources.filter { $0.contains(source) }
        guard own.allSatisfy(\.isEverything) else { return true }
        guard !own.isEmpty || !translated.contains(source.family) else { return false }
        if facts.vpcCIDRs.contains(where: { $0.contains(source) }) { return true }
        return routes.interface(towards: source).map(facts.leadsToARouter) ?? false
    }
}
