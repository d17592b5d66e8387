// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: natfleet contributors

import Foundation
import Testing

/// What a machine's `iptables` talks to.
enum BackEnd: String, CaseIterable, Sendable {
    case nft
    case legacy

    var other: BackEnd { self == .nft ? .legacy : .nft }
}

extension FleetLab {
    /// Points a host's iptables and ip6tables at a back end, as update-alternatives does. /etc is the host's own.
    func use(_ backEnd: BackEnd, on host: String) async throws {
        try await shell(
            host,
            """
            for program in iptables ip6tables; do
                for suffix in '' -save -restore; do
                    ln -sfn /usr/sbin/$program-\(backEnd.rawValue)$suffix /etc/alternatives/$program$suffix
                done
            done
            """)
        let version = try await shell(host, "iptables --version; ip6tables-save --version")
        let word = backEnd == .nft ? "nf_tables" : "legacy"
        try #require(version.matches(of: try Regex(word)).count == 2, "\(version)")
    }

    /// What a host's alternative leads to, say /usr/sbin/ip6tables-nft-restore: for a program that stands in for it.
    func alternative(_ program: String, on host: String) async throws -> String {
        try await shell(host, "readlink /etc/alternatives/\(program)").trimmingCharacters(in: .newlines)
    }

    /// natfleet's rules are in this back end, both families, and none of them in the other.
    func expectOnly(_ backEnd: BackEnd, on host: String) async throws {
        for family in ["iptables", "ip6tables"] {
            #expect(try await rules(family, backEnd, host).contains("-A NATFLEET-POST "), "\(host) \(family)")
            #expect(try await !rules(family, backEnd.other, host).contains("NATFLEET"), "\(host) \(family)")
        }
    }

    private func rules(_ family: String, _ backEnd: BackEnd, _ host: String) async throws -> String {
        try await shell(host, "\(family)-\(backEnd.rawValue)-save")
    }
}
