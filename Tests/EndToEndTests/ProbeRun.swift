// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: natfleet contributors

import AgentCore
import Foundation
import NATPolicy
import NetAddress
import TestSupport
import Testing

/// Tests/ProbeDriver on a host of a lab: the probe without the rest of the agent.
struct ProbeRun {
    static let vpc = "10.0.0.0/16,2001:db8:0:100::/56"

    let lab: FleetLab
    let host: String
    let policy: EffectivePolicy

    /// One masquerade, and what clients must reach.
    static func policy(
        sources: SourceChoice = .vpc, interface: InterfaceChoice = .auto, targets: [String] = []
    ) throws -> EffectivePolicy {
        let entry = Masquerade(name: "egress", interface: interface, sources: sources)
        return EffectivePolicy(
            layers: [.init(policy: "web", revision: 1)],
            forwarding: Forwarding(ipv4: true, ipv6: true),
            masquerade: [.init(policy: "web", entry: entry)],
            probes: try targets.map { try ProbeTarget($0) })
    }

    /// The line of shell that runs the driver; its commands come from standard input.
    func command() throws -> String {
        let file = FileManager.default.temporaryDirectory.appending(path: "natfleet-probe-\(UUID().uuidString).json")
        try policy.canonicalJSON().write(to: file)
        return "\(FleetLab.binaries)/ProbeDriver \(file.path()) \(Self.vpc)"
    }

    /// - Returns: a line a command that prints one.
    func perform(_ commands: [String]) async throws -> [String] {
        try await eventually(within: 15, "\(host) has both default routes") {
            try await lab.shell(host, "ip route show default; ip -6 route show default")
                .split(separator: "\n").count == 2
        }
        let result = try await lab.exec(
            host, "bash", "-ec", try command(), input: commands.map { $0 + "\n" }.joined())
        try #require(result.succeeded, "\(result.errors)")
        return result.output.split(separator: "\n").map(String.init)
    }

    /// The findings of each `probe`.
    func findings(_ commands: [String]) async throws -> [[ProbeFinding]] {
        try await perform(commands).filter { $0.hasPrefix("[") }.map {
            try JSONDecoder().decode([ProbeFinding].self, from: Data($0.utf8))
        }
    }
}

extension [ProbeFinding] {
    /// That of the datagram.
    func datagram(_ family: IPFamily) throws -> ProbeFinding {
        try #require(first { $0.family == family && $0.target == nil }, "\(self)")
    }

    var faults: [String] { compactMap(\.fault) }
}
