// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: natfleet contributors

import NetAddress
import Netfilter

/// Turns an effective policy into rules and kernel settings for one host. Pure: the same input, the same output.
///
/// Two stages: `Resolver` replaces what the policy leaves to the host and collects what cannot be true there; then
/// `FamilyCompiler` writes the rules of each family, `FilterRules` and `NATRules`, which cannot fail.
///
/// - Throws: all faults at once.
package func compile(_ policy: EffectivePolicy, on facts: HostFacts) throws(CompileError) -> CompiledPolicy {
    var resolver = Resolver(policy: policy, facts: facts)
    let entries = resolver.resolve()
    guard resolver.faults.isEmpty else { throw CompileError(faults: resolver.faults) }

    let compilers = IPFamily.allCases.map { FamilyCompiler($0, entries: entries, policy: policy, facts: facts) }
    var compiled = CompiledPolicy(
        ruleset: Ruleset(),
        sysctls: [],
        forwarding: [],
        outside: entries.outside,
        masquerades: entries.masquerades,
        heldBack: [],
        interfaces: Set(entries.forwards.compactMap { facts.interface(towards: $0.entry.to.address) }),
        resolved: resolver.sentences
    )
    for compiler in compilers {
        compiled.ruleset[compiler.family] = compiler.rules
        compiled.sysctls += compiler.sysctls
        compiled.interfaces.formUnion(compiler.outside + compiler.arrivals)
        compiled.resolved += compiler.sentences
        if compiler.isHeldBack {
            compiled.heldBack.append(compiler.family)
            let label = compiler.family.label
            compiled.resolved.append("\(label) forwarding stays off, this host has no \(label) default route")
        }
    }
    // IPv4 first: writing it resets settings of the same family.
    compiled.forwarding = compilers.filter { $0.isForwarded && !$0.isHeldBack }.map { forwardingSetting($0.family) }
    return compiled
}

/// The entries of a policy with nothing left to the host, in order.
struct ResolvedEntries {
    var masquerades: [CompiledMasquerade] = []
    var forwards: [ResolvedForward] = []
    var outside: [IPFamily: String] = [:]
}

struct ResolvedForward {
    /// Who may use which address: a rule each.
    struct Admission: Hashable {
        let destination: IPAddress
        /// nil: anyone.
        let source: CIDR?
    }

    let policy: String
    let entry: PortForward
    let label: String
    let admissions: [Admission]
    /// Whose connections the target sees as the instance's own; nil is anyone's.
    let hidden: [CIDR?]

    var destinations: [IPAddress] {
        admissions.reduce(into: []) { if !$0.contains($1.destination) { $0.append($1.destination) } }
    }

    /// One rule an admission, by destination.
    func portRules(_ ports: PortRange, _ rule: (Admission) -> Rule) -> [PortRules] {
        destinations.map { destination in
            PortRules(
                destination: destination, transport: entry.protocol, ports: ports,
                rules: admissions.filter { $0.destination == destination }.map(rule))
        }
    }
}
