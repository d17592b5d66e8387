// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: natfleet contributors

import NetAddress
import Netfilter

/// Replaces `auto`, `self`, `vpc` and absent families by what the host has, and finds what it lacks.
struct Resolver {
    let policy: EffectivePolicy
    let facts: HostFacts
    private(set) var faults: [CompileError.Fault] = []
    private(set) var sentences: [String] = []
    private var known: Set<CompileError.Fault> = []
    /// What is true of several port forwards, with their names, in the order of first mention.
    private var shared: [(sentence: String, names: [String])] = []
    /// Targets that were looked for already: many port forwards have the same few.
    private var routed: [IPAddress: Bool] = [:]

    init(policy: EffectivePolicy, facts: HostFacts) {
        self.policy = policy
        self.facts = facts
    }

    mutating func resolve() -> ResolvedEntries {
        var entries = ResolvedEntries()
        entries.masquerades = policy.masquerade.flatMap { resolve($0) }
        for family in IPFamily.allCases {
            entries.outside[family] =
                facts.defaultRoute(family)?.interface
                ?? entries.masquerades.first { $0.family == family }?.interface
        }
        entries.forwards = policy.dnat.compactMap { resolve($0, in: entries) }
        checkOverlaps(entries.forwards)
        for (sentence, names) in shared {
            say("\(names.count > 3 ? "\(names.count) port forwards" : names.joined(separator: ", ")): \(sentence)")
        }
        return entries
    }

    mutating func fail(_ policy: String, _ entry: String, _ message: String, remedy: String) {
        let fault = CompileError.Fault(policy: policy, entry: entry, message: message, remedy: remedy)
        if known.insert(fault).inserted { faults.append(fault) }
    }

    private mutating func say(_ sentence: String) { sentences.append(sentence) }

    /// One sentence for all port forwards that it is true of, since there may be thousands.
    mutating func say(_ sentence: String, of name: String) {
        if let index = shared.firstIndex(where: { $0.sentence == sentence }) {
            shared[index].names.append(name)
        } else {
            shared.append((sentence, [name]))
        }
    }

    mutating func hasRoute(to address: IPAddress) -> Bool {
        if let known = routed[address] { return known }
        let found = facts.interface(towards: address) != nil
        routed[address] = found
        return found
    }

    // MARK: Masquerade

    private mutating func resolve(_ layered: EffectivePolicy.Layered<Masquerade>) -> [CompiledMasquerade] {
        let entry = layered.entry
        let name = "\(layered.policy)/\(entry.name)"
        if case .named(let interface) = entry.interface, facts.interface(named: interface) == nil {
            let names = facts.interfaces.map(\.name).joined(separator: ", ")
            fail(
                layered.policy, entry.name, "this host has no interface \(interface), only \(names)",
                remedy: "name one of them, or write interface: auto")
            return []
        }
        if entry.sources == .vpc, facts.vpcCIDRs.isEmpty {
            fail(
                layered.policy, entry.name, "sources is vpc, and nobody told this host the CIDRs of its VPC",
                remedy: "write the networks in sources, or set NATFLEET_VPC_CIDRS on the instance")
            return []
        }
        var resolved: [CompiledMasquerade] = []
        var lacking: [String] = []
        for family in entry.families ?? IPFamily.allCases {
            switch resolve(entry, name: name, in: family) {
            case .success(let masquerade): resolved.append(masquerade)
            case .failure(let lack):
                lacking.append(lack.reason)
                if entry.families != nil {
                    fail(layered.policy, entry.name, lack.reason, remedy: lack.remedy)
                } else {
                    say("\(name): \(family.label) left out, \(lack.reason)")
                }
            }
        }
        if resolved.isEmpty, entry.families == nil {
            fail(
                layered.policy, entry.name,
                "no family is left to masquerade: \(lacking.joined(separator: ", and "))",
                remedy: "turn on spec.forwarding for a family that this host can route, with sources of that family")
        }
        return resolved
    }

    /// Why an entry cannot be true in a family here.
    private struct Lack: Error {
        let reason: String
        let remedy: String
    }

    private mutating func resolve(
        _ entry: Masquerade, name: String, in family: IPFamily
    ) -> Result<CompiledMasquerade, Lack> {
        let networks: [CIDR]
        switch entry.sources {
        case .any: networks = [.everything(family)]
        case .vpc: networks = facts.vpcCIDRs(family)
        case .networks(let list): networks = list.filter { $0.family == family }
        }
        guard !networks.isEmpty else {
            let owner = entry.sources == .vpc ? "the VPC has" : "sources has"
            return .failure(
                Lack(
                    reason: "\(owner) no \(family.label) network",
                    remedy: "add one to sources, or take \(family.rawValue) out of families"))
        }
        let interface: String
        switch outside(entry.interface, family) {
        case .success(let name): interface = name
        case .failure(let lack): return .failure(lack)
        }
        guard policy.forwarding[family] else {
            return .failure(
                Lack(
                    reason: "the policy does not forward \(family.label)",
                    remedy: "write forwarding.\(family.rawValue): true, or take \(family.rawValue) out of families"))
        }
        if entry.interface == .auto { say("\(name): interface auto is \(interface) in \(family.label)") }
        if entry.sources == .vpc {
            say("\(name): sources vpc are \(networks.map(\.description).joined(separator: ", "))")
        }
        return .success(
            CompiledMasquerade(
                label: ruleComment(name),
                family: family,
                interface: interface,
                sources: withoutOverlaps(networks),
                except: withoutOverlaps(entry.except.filter { $0.family == family }),
                randomFully: entry.randomFully
            ))
    }

    private func outside(_ choice: InterfaceChoice, _ family: IPFamily) -> Result<String, Lack> {
        let remedy = "give the host one, or take \(family.rawValue) out of families"
        let name: String
        switch choice {
        case .named(let written): name = written
        case .auto:
            guard let route = facts.defaultRoute(family) else {
                return .failure(Lack(reason: "this host has no \(family.label) default route", remedy: remedy))
            }
            name = route.interface
        }
        guard facts.primaryAddress(family, on: name) != nil else {
            return .failure(Lack(reason: "\(name) has no \(family.label) address", remedy: remedy))
        }
        guard canBeWritten(name) else {
            return .failure(
                Lack(
                    reason: "the name of interface '\(name)' cannot stand in a rule",
                    remedy: "rename it to letters, digits, '.', '_' and '-'"))
        }
        return .success(name)
    }
}
