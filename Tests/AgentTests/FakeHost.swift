// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: natfleet contributors

import FleetAPI
import FleetModel
import Logging
import NATPolicy
import NetAddress
import Synchronization
import TestSupport

@testable import AgentCore

/// A NAT instance in memory, with one interface.
struct FakeHost {
    let faults = Faults()
    let clock = FakeClock()
    let kernel: FakeKernel
    let files: MemoryFiles
    /// What the agent tells whoever is logged in.
    let told: MemoryFiles
    let toldFaults = Faults()
    let flows: FakeFlows

    init() throws {
        flows = FakeFlows(faults)
        kernel = FakeKernel(try Self.facts(), faults)
        files = MemoryFiles(faults)
        told = MemoryFiles(toldFaults)
    }

    /// The agent as it starts: knows nothing but what is on disk.
    func start(
        probe: (any DataPathProbe)? = nil, persistence: (any Persistence)? = nil,
        memoryKiB: Int? = nil, news: @escaping @Sendable () -> Int? = { nil },
        locks: @escaping @Sendable () -> Int? = { nil },
        shelve: (@Sendable (_ bytes: [UInt8]) -> (@Sendable () throws(StateFileError) -> [UInt8])?)? = nil
    ) -> Reconciler {
        var machinery = Machinery(
            kernel: kernel, flows: flows, files: files, probe: probe, persistence: persistence, memoryKiB: memoryKiB)
        machinery.told = told
        (machinery.networkNews, machinery.lockNews) = (news, locks)
        if let shelve { (machinery.shelve, machinery.manyForwards) = (shelve, 1) }
        return Reconciler(
            machinery,
            log: Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }, clock: { clock.seconds })
    }

    /// Tables are empty, or hold what the distribution restored; sysctls are the kernel's, but for forwarding that somebody
    /// else turned on.
    func reboot(restored: [IPFamily: String] = [:], isForwarding: Bool = false) throws {
        let fresh = try FakeHost()
        for (family, text) in restored {
            try fresh.change { machine in try machine.tables[family]?.restore(text) }
        }
        if isForwarding {
            fresh.change { machine in
                for family in IPFamily.allCases { machine.sysctls[family.forwardingKey] = "1" }
            }
        }
        let machine = fresh.kernel.machine.withLock { $0 }
        change { $0 = machine }
    }

    /// IPv4, IPv6.
    var isForwarding: [Bool] { IPFamily.allCases.map { sysctl($0.forwardingKey) != "0" } }

    /// Rules and sysctls as they are.
    var state: [String] { kernel.machine.withLock { $0.state } }

    var leaks: [String] { kernel.machine.withLock { $0.leaks } }

    /// The values of sysctls that are on disk to go back to.
    var found: [String: String] { get throws { try files.load([String: String].self, .sysctls) ?? [:] } }

    func sysctl(_ key: String) -> String? { kernel.machine.withLock { $0.sysctls[key] } }

    func rules(_ family: IPFamily) -> String { kernel.machine.withLock { $0.text(family) } }

    /// What changed something since the last call.
    func touched() -> [String] {
        kernel.machine.withLock { machine in
            defer { machine.touched = [] }
            return machine.touched
        }
    }

    func change(_ body: (inout FakeKernel.Machine) throws -> Void) rethrows {
        try kernel.machine.withLock { try body(&$0) }
    }

    static func facts(address: String = "10.0.0.11") throws -> HostFacts {
        HostFacts(
            interfaces: [
                .init(
                    name: "eth0",
                    addresses: [
                        .init(try IPAddress(address), prefixLength: 24),
                        .init(try IPAddress("2001:db8:0:100::11"), prefixLength: 64),
                    ])
            ],
            routes: [
                .init(destination: .everything(.ipv4), interface: "eth0", gateway: try IPAddress("10.0.0.1")),
                .init(destination: .everything(.ipv6), interface: "eth0", gateway: try IPAddress("fe80::1")),
            ],
            iptables: .init(backend: .nft, version: "1.8.9"))
    }

    /// Masquerade in both families and a port forward to `target`; by default the masquerade is on the default route.
    static func desired(to target: String = "10.0.1.80:80", interface: InterfaceChoice = .auto) throws -> DesiredState {
        let policy = EffectivePolicy(
            layers: [.init(policy: "web", revision: 1)], forwarding: Forwarding(ipv4: true, ipv6: true),
            masquerade: [
                .init(
                    policy: "web",
                    entry: Masquerade(
                        name: "egress", interface: interface,
                        sources: .networks([try CIDR("10.0.0.0/16"), try CIDR("2001:db8:0:100::/56")])))
            ],
            dnat: [
                .init(
                    policy: "web",
                    entry: PortForward(
                        name: "PortMapping", protocol: .tcp, destination: .instance, port: try PortRange("8001"),
                        to: try Endpoint(target)))
            ])
        return DesiredState(hash: policy.hash, policy: policy)
    }

    static let nothing = DesiredState(hash: EffectivePolicy.none.hash, policy: .none)
}

/// A connection tracking table in memory.
final class FakeFlows: FlowTable {
    let flows = Mutex<[TrackedFlow]>([])
    /// How many times all were read.
    let looks = Mutex(0)
    private let faults: Faults

    init(_ faults: Faults) { self.faults = faults }

    func forEach(_ body: (TrackedFlow) -> Void) throws(KernelError) {
        looks.withLock { $0 += 1 }
        flows.withLock { $0 }.forEach(body)
    }

    func lookup(_ original: FlowTuple) throws(KernelError) -> TrackedFlow? {
        flows.withLock { $0.first { $0.original == original } }
    }

    func delete(_ flow: TrackedFlow) throws(KernelError) -> Bool {
        flows.withLock { flows in
            defer { flows.removeAll { $0 == flow } }
            return flows.contains(flow)
        }
    }

    func sweep(where isStale: (TrackedFlow) -> Bool) throws(KernelError) -> Int {
        if faults.isBroken(.sweep) { throw KernelError("deleting tracked flows: no") }
        let stale = flows.withLock { $0 }.filter(isStale)
        for flow in stale { _ = try delete(flow) }
        return stale.count
    }
}

/// Stands still until a test moves it.
final class FakeClock: Sendable {
    private let time = Mutex(1000.0)

    var seconds: Double { time.withLock { $0 } }

    func advance(_ seconds: Double) { time.withLock { $0 += seconds } }
}

extension Reconciler {
    /// A whole trial, as the machine leads it.
    ///
    /// - Parameters:
    ///   - confirmed: whether the controller answers in time.
    ///   - meanwhile: what happens between proof and confirmation.
    func apply(
        _ desired: DesiredState, confirmed: Bool = true, meanwhile: () -> Void = {}
    ) async -> WorkReport {
        var machine = TrialMachine()
        return await drive(&machine, .offered(desired), confirmed, meanwhile)
    }

    /// What an agent does first of all.
    func start() async -> WorkReport {
        var machine = TrialMachine()
        return await drive(&machine, .started, true) {}
    }

    func reconcile() async -> WorkReport {
        let report = await reconcile(.everything)
        guard let retry = report.retry else { return report }
        return await apply(retry)
    }

    private func drive(
        _ machine: inout TrialMachine, _ event: TrialEvent, _ confirmed: Bool, _ meanwhile: () -> Void
    ) async -> WorkReport {
        var last = WorkReport(status: firstStatus)
        var outcome: Outcome?
        var hasMovedRules = false
        var pending = machine.handle(event, now: 0)
        while !pending.isEmpty {
            let action = pending.removeFirst()
            switch action {
            case .perform(let step):
                let (event, report) = await perform(step)
                (last, outcome) = (report, report.outcome ?? outcome)
                hasMovedRules = hasMovedRules || report.hasMovedRules
                pending += machine.handle(event, now: 0)
            case .confirm:
                meanwhile()
                pending += machine.handle(confirmed ? .confirmed : .ticked, now: confirmed ? 0 : 1000)
            case .finish: break
            }
        }
        (last.outcome, last.hasMovedRules) = (outcome, hasMovedRules)
        return last
    }
}
