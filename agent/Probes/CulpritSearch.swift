// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: natfleet contributors

import AgentCore
import NATPolicy
import NetAddress

/// Finds out what keeps a client's packets from being forwarded: a switch, a rule whose counter moves with them, or a
/// table of nftables that iptables doesn't show. Costs a listing of all rules before and after a burst of packets, so it
/// is for when something is wrong.
struct CulpritSearch: Sendable {
    /// So many that other traffic hardly ends as often at another rule in the same moment.
    private static let burst = 20

    let programs: ProgramRunner
    let chains: NftChainList
    let namespace: NetworkNamespace
    let iptables: HostFacts.Iptables

    /// Why `packet` is not forwarded, so that it can stand after "clients are not forwarded".
    func culprit(of packet: ProbePacket) async -> String {
        let family = packet.destination.family
        if let off = Self.forwardingOff(family) { return off }
        if let rule = await rule(ending: packet) { return rule }
        let found = NftChain.passed((try? chains()) ?? [], family)
        guard !found.isEmpty else { return "no rule is seen to drop them, and the kernel tracks none of them" }
        let names = found.prefix(3).map { "'\($0)'" }.joined(separator: ", ")
        return "no rule of iptables drops them; chains of others do, see nft list chain \(names)"
    }

    private static func forwardingOff(_ family: IPFamily) -> String? {
        let key = family.forwardingKey
        return sysctl(SysctlSetting.path(of: key)) == "0" ? "\(key) is 0" : nil
    }

    private func rule(ending packet: ProbePacket) async -> String? {
        let prefix = packet.destination.family.program
        var listings = ["\(prefix)-save"]
        // Present only where it holds rules, and there a listing does no harm.
        if iptables.otherRules != nil { listings.append("\(prefix)-\(iptables.backend.other.rawValue)-save") }
        var before: [RuleCounters] = []
        for program in listings { before.append(await counters(program)) }
        let packets = Array(repeating: packet, count: Self.burst)
        do throws(KernelError) {
            _ = try await namespace.run { () throws(KernelError) in try send(packets, limit: 50) }
        } catch {
            return nil
        }
        for (program, before) in zip(listings, before) {
            let culprit = await counters(program)
                .culprit(of: UInt64(Self.burst), since: before, program: program)
            if let culprit { return culprit }
        }
        return nil
    }

    private func counters(_ program: String) async -> RuleCounters {
        RuleCounters(parsing: (try? await programs(program, ["-c"], "")) ?? "")
    }
}
