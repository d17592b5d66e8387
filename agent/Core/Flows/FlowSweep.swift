// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: natfleet contributors

package import NATPolicy
package import NetAddress
package import Netfilter

/// Which tracked flows no longer go the way that the rules say, and never would by themselves: NAT is decided by a flow's
/// first packet and kept for its life.
///
/// Goals: no private source goes on leaving untranslated; whoever uses a port forward that was removed or changed stops
/// reaching its old target; nothing else is ever ended. So nothing is judged by what a policy says, only by what the
/// compiled rules would do with the flow's first packet now, and, for port forwards, would have done before the change.
/// Flows that others turned round, flows of the host itself and flows in conntrack zones are not ours.
package struct FlowSweep: Sendable {
    /// Why a flow has to end.
    package enum Fault: Hashable, Sendable {
        /// The rules translate its source now, and it goes untranslated.
        case untranslated
        /// The port forward that it came through is gone, or does something else with it now.
        case forwardChanged
        /// It goes out under an address that is the host's but not its interface's: it began while that had none.
        case astray
    }

    private let before: [IPFamily: NATWalk]
    private let after: [IPFamily: NATWalk]
    private let draining: Set<String>
    private let host: FlowRoutes
    /// The networks of interfaces that had lost an address, a route or themselves, and have it again.
    private let regained: [String: [CIDR]]

    /// - Parameters:
    ///   - before: what ran when the flows may have begun: the ruleset before a change, or the same one after a repair.
    ///   - after: what runs now.
    ///   - facts: what `after` was compiled for.
    ///   - ownAddresses: all addresses of the host, as far as they are not in the facts.
    ///   - draining: comments of rules (`natfleet:POLICY/NAME`) whose port forwards may finish their TCP connections.
    ///   - regained: interfaces that had lost something which they have again.
    package init(
        from before: Ruleset,
        to after: Ruleset,
        facts: HostFacts,
        ownAddresses: [IPAddress] = [],
        draining: Set<String> = [],
        regained: Set<String> = []
    ) {
        self.before = [.ipv4: NATWalk(before.ipv4), .ipv6: NATWalk(before.ipv6)]
        self.after = [.ipv4: NATWalk(after.ipv4), .ipv6: NATWalk(after.ipv6)]
        self.draining = draining
        host = FlowRoutes(facts, ownAddresses: ownAddresses)
        let there = facts.interfaces.filter { regained.contains($0.name) }
        self.regained = Dictionary(there.map { ($0.name, $0.addresses.map(\.network)) }) { $0 + $1 }
    }

    /// Whether a flow has to end, nil where it is as it should be or not ours to judge.
    package func fault(of flow: TrackedFlow) -> Fault? {
        guard !flow.isInAnyZone, !flow.status.contains(.dying),
            let before = before[flow.family], let after = after[flow.family]
        else { return nil }
        if isAstray(flow, after) { return .astray }
        guard
            flow.isDestinationTranslated || !flow.isSourceTranslated, !host.keeps(flow.original.source)
        else { return nil }
        let arrival = NATWalk.Packet(flow.original)
        let forward =
            flow.isDestinationTranslated
            ? before.decision(at: .prerouting, for: arrival).flatMap { $0.leads(arrival, to: flow) ? $0 : nil } : nil
        guard let forward else { return isUntranslated(flow, after) ? .untranslated : nil }

        let fault = fault(of: flow, through: forward, arrival, before, after)
        let isDraining = flow.original.transport == .tcp && draining.contains(forward.comment)
        return fault == .forwardChanged && isDraining ? nil : fault
    }

    /// A flow that one of ours sent where it goes.
    private func fault(
        of flow: TrackedFlow, through forward: Rule, _ arrival: NATWalk.Packet, _ before: NATWalk, _ after: NATWalk
    ) -> Fault? {
        guard let now = after.decision(at: .prerouting, for: arrival), now.leads(arrival, to: flow) else {
            return .forwardChanged
        }
        guard let departure = departure(of: flow) else { return nil }
        let old = before.decision(at: .postrouting, for: departure)
        let new = after.decision(at: .postrouting, for: departure)
        let isHidden = new?.isMasquerade ?? false
        let wasHiddenByForward = old.map { $0.isMasquerade && $0.comment == forward.comment } ?? false
        let isHiddenByForward = new.map { $0.isMasquerade && $0.comment == now.comment } ?? false
        if wasHiddenByForward != isHiddenByForward {
            return isHidden != flow.isSourceTranslated ? .forwardChanged : nil
        }
        guard isHidden, !flow.isSourceTranslated else { return nil }
        // A masquerade of everybody that came later hides the peers of connections from outside as well. Those have a
        // peer already, nothing of theirs leaks, and their port forward is what it was.
        let isForEverybody = new?.source?.isEverything ?? true
        return isForEverybody && !(old?.isMasquerade ?? false) ? nil : .untranslated
    }

    private func isUntranslated(_ flow: TrackedFlow, _ after: NATWalk) -> Bool {
        guard !flow.isSourceTranslated, let departure = departure(of: flow) else { return false }
        return after.decision(at: .postrouting, for: departure)?.isMasquerade ?? false
    }

    /// MASQUERADE takes any address of the host where the way out has none, and a flow keeps what its first packet got.
    /// Whatever is in a network of the interface was taken from it: temporary addresses are no facts.
    private func isAstray(_ flow: TrackedFlow, _ after: NATWalk) -> Bool {
        let taken = flow.reply.destination
        guard !regained.isEmpty, flow.isSourceTranslated, host.keeps(taken), let departure = departure(of: flow),
            let networks = departure.outInterface.flatMap({ regained[$0] }),
            networks.contains(where: { $0.address.family == flow.family && !$0.address.isLinkLocal }),
            !networks.contains(where: { $0.contains(taken) })
        else { return false }
        return after.decision(at: .postrouting, for: departure)?.isMasquerade ?? false
    }

    /// nil where the flow ends on this host, or no route leads to its end.
    private func departure(of flow: TrackedFlow) -> NATWalk.Packet? {
        let destination = flow.reply.source
        guard !host.keeps(destination), let interface = host.interface(towards: destination) else { return nil }
        return NATWalk.Packet(flow, outInterface: interface)
    }
}

extension Rule {
    fileprivate var isMasquerade: Bool {
        if case .masquerade = target { true } else { false }
    }

    /// Whether this DNAT would send the flow where it goes.
    fileprivate func leads(_ packet: NATWalk.Packet, to flow: TrackedFlow) -> Bool {
        guard let target = target(of: packet) else { return false }
        return target.address == flow.reply.source && target.port == flow.reply.sourcePort
    }
}
