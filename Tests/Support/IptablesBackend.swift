// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: natfleet contributors

package import NetAddress

/// One of the programs that load rules, in throwaway namespaces.
package struct IptablesBackend: CustomStringConvertible, Sendable {
    package struct Refusal: Error, CustomStringConvertible {
        package let description: String
    }

    package let family: IPFamily
    /// `nft` or `legacy`.
    package let name: String

    package static let all = IPFamily.allCases.flatMap { family in
        ["nft", "legacy"].map { IptablesBackend(family: family, name: $0) }
    }
    package static let programs = all.flatMap { ["\($0.path)-restore", "\($0.path)-save"] } + ["/usr/bin/unshare"]

    package var path: String { "/usr/sbin/\(family == .ipv4 ? "iptables" : "ip6tables")-\(name)" }
    /// ip6tables-nft 1.8.9 reads counters and drops them, in whatever form they are given.
    package var takesCounters: Bool { !(family == .ipv6 && name == "nft") }
    package var description: String { "\(family.label) \(name)" }

    /// Feeds the texts to restore one after the other in a namespace of their own and returns what save prints.
    ///
    /// - Parameters:
    ///   - before: shell commands that set up the namespace.
    ///   - after: shell commands to run between the last text and save.
    package func load(_ texts: [String], before: String = "", after: String = "") async throws -> String {
        // The lock file is in /run, which is not ours to write to.
        var script = "set -e\nmount -t tmpfs tmpfs /run\n\(before)\n"
        for (number, text) in texts.enumerated() {
            script += "\(path)-restore --noflush --counters -w 10 <<'EOF-\(number)'\n\(text)EOF-\(number)\n"
        }
        script += "\(after)\n\(path)-save --counters\n"
        let result = try await runProgram(
            "/usr/bin/unshare", KernelSuite.unshare + ["/bin/bash"], input: script)
        guard result.succeeded else { throw Refusal(description: "\(self) \(result.status): \(result.errors)") }
        return result.output
    }
}
