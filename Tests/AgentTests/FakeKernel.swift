// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: natfleet contributors

import AgentCore
import NATPolicy
import NetAddress
import Netfilter
import Synchronization
import TestSupport

/// A machine in memory: tables that execute restore text, and sysctls with the kernel's side effects.
final class FakeKernel: Kernel {
    struct Machine: Sendable {
        var facts: HostFacts
        var tables: [IPFamily: FakeNetfilter] = [.ipv4: FakeNetfilter(), .ipv6: FakeNetfilter()]
        var sysctls: [String: String] = [
            "net.ipv4.ip_forward": "0", "net.ipv4.conf.all.accept_redirects": "0",
            "net.ipv4.conf.all.send_redirects": "1", "net.ipv4.conf.eth0.send_redirects": "1",
            "net.ipv6.conf.all.forwarding": "0", "net.ipv6.conf.eth0.accept_ra": "1",
            "net.netfilter.nf_conntrack_max": "262144", "net.netfilter.nf_conntrack_buckets": "262144",
        ]
        /// Everything that changed something, in order.
        var touched: [String] = []
        var bootID = "boot 1"
        /// Families whose `iptables-restore` ends well and does nothing.
        var idle: Set<IPFamily> = []
        /// Put before what `iptables-save` prints.
        var remark = ""
        /// How this version of `iptables-save` prints rules.
        var spelling: @Sendable (String) -> String = { $0 }
        /// What was loaded into throwaway namespaces.
        var rehearsed: [String] = []
        /// nil where nobody counts; a test that sets it has to move it too.
        var generation: UInt32?
        /// What was done while forwarding was on without a masquerade.
        var leaks: [String] = []

        func text(_ family: IPFamily) -> String { tables[family]?.save() ?? "" }

        /// Rules, without counters, and sysctls.
        var state: [String] {
            IPFamily.allCases.map(text) + sysctls.sorted { $0.key < $1.key }.map { "\($0.key)=\($0.value)" }
        }

        mutating func touch(_ what: String) {
            touched.append(what)
            for (family, key) in zip(IPFamily.allCases, ["net.ipv4.ip_forward", "net.ipv6.conf.all.forwarding"])
            where sysctls[key] == "1" && !text(family).contains("MASQUERADE") {
                leaks.append("after \(what): \(family.label)")
            }
        }
    }

    let machine: Mutex<Machine>
    private let faults: Faults

    init(_ facts: HostFacts, _ faults: Faults) {
        machine = Mutex(Machine(facts: facts))
        self.faults = faults
    }

    func facts() async throws(KernelError) -> HostFacts {
        try check(.facts, "ip")
        return machine.withLock { $0.facts }
    }

    func observe(_ family: IPFamily) async throws(KernelError) -> OwnedState {
        try check(.observe, "iptables-save")
        let text = machine.withLock { machine in
            machine.remark + machine.spelling(machine.tables[family]?.save(counters: true) ?? "")
        }
        do { return try OwnedState(parsing: text) } catch { throw KernelError(error, from: "iptables-save") }
    }

    func rehearse(_ family: IPFamily, _ text: String) async throws(KernelError) -> OwnedState {
        try check(.rehearse, "unshare")
        var fresh = FakeNetfilter()
        let spelling = machine.withLock { machine in
            machine.rehearsed.append(text)
            return machine.spelling
        }
        do {
            try fresh.restore(text)
            return try OwnedState(parsing: spelling(fresh.save()))
        } catch {
            throw KernelError("\(error)")
        }
    }

    func restore(_ family: IPFamily, _ input: String) async throws(KernelError) {
        for part in input.split(separator: "COMMIT\n") {
            try check(.restore, "iptables-restore")
            do {
                try machine.withLock { machine in
                    guard !machine.idle.contains(family) else { return }
                    try machine.tables[family]?.restore("\(part)COMMIT\n")
                    machine.touch("\(family.label) \(part.dropFirst().prefix { $0 != "\n" })")
                }
            } catch {
                throw KernelError("\(error)")
            }
        }
    }

    func rulesMark(contents: Bool) -> RulesMark {
        machine.withLock { machine in
            var mark = RulesMark(generation: machine.generation)
            guard machine.facts.iptables.backend == .legacy else { return mark }
            let texts = IPFamily.allCases.map(machine.text)
            mark.legacy = LegacyMark(
                outline: texts.map { $0.split(separator: "\n").count }.hashValue,
                contents: contents ? texts.hashValue : nil)
            return mark
        }
    }

    func surroundings() -> Surroundings {
        machine.withLock {
            Surroundings(program: "\($0.facts.iptables.backend)", legacyTables: [], generation: $0.generation)
        }
    }

    func interfacesInKeys(_ family: IPFamily) -> [String] {
        machine.withLock { machine in
            machine.sysctls.keys.compactMap { key in
                let parts = key.split(separator: ".").map(String.init)
                return parts.count == 5 && parts[1] == family.rawValue && parts[3] != "all" ? parts[3] : nil
            }
        }
    }

    func bootID() -> String { machine.withLock { $0.bootID } }

    func sysctl(_ key: String) throws(KernelError) -> String? {
        try check(.readSysctl, key)
        return machine.withLock { $0.sysctls[key] }
    }

    func setSysctl(_ key: String, _ value: String) throws(KernelError) {
        try check(.setSysctl, key)
        machine.withLock { machine in
            // inet_forward_change, addrconf_fixup_forwarding
            for family in IPFamily.allCases where family.forwardingKey == key && machine.sysctls[key] != value {
                for other in machine.sysctls.keys
                where other.hasPrefix("net.\(family.rawValue).") && other.hasSuffix(".forwarding") {
                    machine.sysctls[other] = value
                }
                guard family == .ipv4 else { continue }
                machine.sysctls["net.ipv4.conf.all.accept_redirects"] = value == "0" ? "1" : "0"
            }
            machine.sysctls[key] = value
            machine.touch("\(key)=\(value)")
        }
    }

    private func check(_ operation: Faults.Operation, _ what: String) throws(KernelError) {
        if faults.hit(operation) { throw KernelError("\(what): no") }
    }
}
