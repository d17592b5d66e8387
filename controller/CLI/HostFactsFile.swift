// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: natfleet contributors

internal import FleetModel
internal import Foundation
internal import NATPolicy
internal import NetAddress
internal import Yams

/// Host facts as a file: as an agent reports them, or written by hand with the empty parts left out.
private struct HostFactsFile: Decodable {
    var interfaces: [HostFacts.Interface]
    var routes: [HostFacts.Route]
    var iptables: HostFacts.Iptables?
    var vpcCIDRs: [CIDR]?
    var publicAddresses: [HostFacts.PublicAddress]?
    var controller: [Endpoint]?

    var facts: HostFacts {
        HostFacts(
            interfaces: interfaces, routes: routes,
            // The oldest release that the agent is made for, so that a rendering is right on all of them.
            iptables: iptables ?? HostFacts.Iptables(backend: .nft, version: "1.8.4"), vpcCIDRs: vpcCIDRs ?? [],
            publicAddresses: publicAddresses ?? [], controller: controller ?? [])
    }
}

/// Reads host facts, JSON or YAML, from a file or, as `-`, from standard input.
///
/// - Throws: `FleetError` of code `badRequest`.
func readFacts(_ path: String, _ context: CLIContext) throws -> HostFacts {
    let data = path == "-" ? try context.readInput() : FileManager.default.contents(atPath: path)
    guard let data else {
        throw FleetError(.badRequest, "cannot read \(path)", remedy: "check its name and permissions")
    }
    do {
        return try YAMLDecoder().decode(HostFactsFile.self, from: data).facts
    } catch {
        throw FleetError(
            .badRequest, "\(path) does not hold host facts: \(decodingReason(error))",
            remedy: "take status.facts of 'natfleet get instance ID -o json', or see docs/cli.md for what to write")
    }
}
