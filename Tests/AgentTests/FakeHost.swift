// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: natfleet contributors

import FleetAPI
import Logging
import NATPolicy
import NetAddress
import Synchronization
import TestSupport

@testable import AgentCore

/// A NAT instance in memory, with one interface.
struct FakeHost {
    let faults = Faults()
    let kernel: FakeKernel
    let files: MemoryFiles

    init() throws {
        kernel = FakeKernel(try Self.facts(), faults)
        files = MemoryFiles(faults)
    }

    /// The agent as it starts: knows nothing but what is on disk.
    func start() -> Reconciler {
        Reconciler(kernel: kernel, files: files, log: Logger(label: "test") { _ in SwiftLogNoOpLogHandler() })
    }

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
