// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: natfleet contributors

import AgentCore
import AgentLink
import FleetAPI
import FleetModel
import Foundation
import NATPolicy
import NetAddress
import Synchronization

/// An instance that enrols and checks in by the agent's own link; what it would have done to a kernel it only says.
final class RealAgent: Sendable {
    private let link: HTTPSControllerLink
    private let clock: ManualClock
    private let status = Mutex(InstanceStatus(phase: .idle, agentVersion: "0.1.0"))

    init(_ id: String, of controller: RealController, token: String) async throws {
        let configuration = try AgentCore.Configuration(
            text: nil, file: "",
            environment: [
                "NATFLEET_CONTROLLER": controller.url, "NATFLEET_CA_HASH": controller.caHash,
                "NATFLEET_JOIN_TOKEN": token, "NATFLEET_INSTANCE_ID": id, "NATFLEET_LABELS": "role=nat",
            ])
        clock = controller.clock
        link = try HTTPSControllerLink(configuration: configuration, files: FilesInMemory())
        try await link.enrol()
    }

    /// Says what it knows of its host, and what it runs.
    func reports() async throws {
        status.withLock { $0.facts = Self.facts }
        _ = try await checkIn(nil)
    }

    /// Gets what is wanted, and says that it runs.
    func applies() async throws {
        guard let desired = try await checkIn(nil).desired else { return }
        status.withLock { status in
            status.phase = .applied
            status.runningHash = desired.hash
            status.layers = desired.policy.layers
            status.conditions = []
        }
        _ = try await checkIn(Outcome(hash: desired.hash, result: .applied, detail: "eth0", at: clock.now))
    }

    /// Gets what is wanted, and says why it cannot be.
    func refuses(_ reason: String) async throws { try await fails(.refused, .policyRefused, .refused, reason) }

    /// Gets what is wanted, and says why it went back.
    func reverts(_ reason: String) async throws { try await fails(.reverted, .trialReverted, .reverted, reason) }

    private func fails(
        _ phase: InstanceStatus.Phase, _ kind: ConditionKind, _ result: Outcome.Result, _ reason: String
    ) async throws {
        guard let desired = try await checkIn(nil).desired else { return }
        status.withLock { status in
            status.phase = phase
            status.conditions = [Condition(kind, reason)]
        }
        _ = try await checkIn(Outcome(hash: desired.hash, result: result, detail: reason, at: clock.now))
    }

    private func checkIn(_ outcome: Outcome?) async throws -> CheckinResponse {
        try await link.checkIn(CheckinRequest(status: status.withLock { $0 }, outcome: outcome, wait: 0))
    }

    private static let facts: HostFacts? = try? HostFacts(
        interfaces: [
            .init(
                name: "eth0",
                addresses: [
                    .init(IPAddress("10.0.0.10"), prefixLength: 24),
                    .init(IPAddress("2001:db8:0:1::10"), prefixLength: 64),
                ])
        ],
        routes: [
            .init(destination: .everything(.ipv4), interface: "eth0", gateway: IPAddress("10.0.0.1")),
            .init(destination: .everything(.ipv6), interface: "eth0", gateway: IPAddress("fe80::1")),
        ],
        iptables: .init(backend: .nft, version: "1.8.9"), vpcCIDRs: [CIDR("10.0.0.0/16")])
}

private final class FilesInMemory: StateFiles {
    private let files = Mutex<[StateFile: [UInt8]]>([:])

    func read(_ name: StateFile) throws(StateFileError) -> [UInt8]? { files.withLock { $0[name] } }

    func write(_ name: StateFile, _ bytes: [UInt8]) throws(StateFileError) { files.withLock { $0[name] = bytes } }

    func remove(_ name: StateFile) throws(StateFileError) { files.withLock { $0[name] = nil } }

    func keep(_ name: StateFile, as other: StateFile) throws(StateFileError) {
        files.withLock { $0[other] = $0[name] }
    }
}
