// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: natfleet contributors

import AgentCore
import NATPolicy
import NetAddress

/// Looks into the back end of iptables that this machine's `iptables` does not talk to, without making anything there.
struct OtherBackEnd: Sendable {
    let runner: CommandRunner
    let backEnd: HostFacts.Iptables.Backend

    /// Chains of nat and filter with rules or a policy other than ACCEPT: `IPv4 nat POSTROUTING`.
    func chainsWithRules() async throws(KernelError) -> [String] {
        var found: [String] = []
        for family in IPFamily.allCases {
            found += Self.chainsWithRules(try await save(family)).map { "\(family.label) \($0)" }
        }
        return found
    }

    /// Empty where the back end holds nothing or is not installed.
    private func save(_ family: IPFamily) async throws(KernelError) -> String {
        let program = family.program("-\(backEnd.rawValue)-save")
        guard runner.locate(program) != nil else { return "" }
        switch backEnd {
        case .legacy:
            // A legacy table that is asked for comes into being: ask only where the kernel says that there are some.
            guard try hasLegacyTables(family) else { return "" }
            return try await runner.run(program, [])
        case .nft:
            // Fails on a kernel without nf_tables, which then holds nothing.
            return (try? await runner.run(program, [])) ?? ""
        }
    }

    private func hasLegacyTables(_ family: IPFamily) throws(KernelError) -> Bool {
        do throws(StateFileError) {
            let path = family == .ipv4 ? "/proc/net/ip_tables_names" : "/proc/net/ip6_tables_names"
            return try readFile(path)?.isEmpty == false
        } catch {
            throw KernelError(error.description)
        }
    }

    /// Reads what `iptables-save` prints; `nat POSTROUTING` for each chain that does something.
    static func chainsWithRules(_ text: String) -> [String] {
        let remark = "# Table `"
        var table = ""
        var found: [String] = []
        for line in text.split(separator: "\n") {
            let words = line.split(separator: " ")
            if line.hasPrefix("*") {
                table = String(line.dropFirst())
            } else if line.hasPrefix(remark), line.contains("' is incompatible") {
                let name = line.dropFirst(remark.count).prefix { $0 != "'" }
                if isRead(name) { found.append("\(name) (native nft rules)") }
            } else if isRead(table), words.count > 1 {
                let isPolicy = line.hasPrefix(":") && words[1] != "ACCEPT" && words[1] != "-"
                guard isPolicy || words[0] == "-A" else { continue }
                let chain = "\(table) \(isPolicy ? words[0].dropFirst() : words[1])"
                if !found.contains(chain) { found.append(chain) }
            }
        }
        return found
    }
}

/// Tables that translate or forward.
private func isRead(_ table: some StringProtocol) -> Bool { table == "nat" || table == "filter" }
