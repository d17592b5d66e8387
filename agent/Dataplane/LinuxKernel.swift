// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: natfleet contributors

package import AgentCore
package import NATPolicy
package import NetAddress
package import Netfilter

/// The kernel's own answers on whether rules have changed.
package struct RulesMarks: Sendable {
    /// Of the nf_tables ruleset.
    let generation: @Sendable () -> UInt32?
    /// Of the legacy back end's tables that are named.
    let legacy: @Sendable (_ tables: [IPFamily: [String]], _ contents: Bool) -> LegacyMark?

    package init(
        generation: @escaping @Sendable () -> UInt32?,
        legacy: @escaping @Sendable (_ tables: [IPFamily: [String]], _ contents: Bool) -> LegacyMark?
    ) {
        (self.generation, self.legacy) = (generation, legacy)
    }
}

/// The real machine: iptables and ip6tables, iproute2, /proc/sys.
package struct LinuxKernel: Kernel {
    let runner: CommandRunner
    let vpcCIDRs: [CIDR]
    let controller: [Endpoint]
    let marks: RulesMarks
    /// Seconds that the legacy back end waits for its lock while somebody else has it.
    package var lockWait = 10

    /// - Parameters:
    ///   - vpcCIDRs: what the configuration says of the VPC.
    ///   - controller: where the agent reaches its controller, if that is a literal address.
    package init(
        runner: CommandRunner = CommandRunner(), vpcCIDRs: [CIDR], controller: [Endpoint],
        marks: RulesMarks
    ) {
        self.marks = marks
        self.runner = runner
        self.vpcCIDRs = vpcCIDRs
        self.controller = controller
    }

    package func facts() async throws(KernelError) -> HostFacts {
        // Side by side: it is the programs' starting that takes the time.
        async let addresses = runner.attempt("ip", ["-json", "address", "show"])
        async let routes4 = runner.attempt("ip", ["-json", "-4", "route", "show", "table", "main"])
        async let routes6 = runner.attempt("ip", ["-json", "-6", "route", "show", "table", "main"])
        async let version = runner.attempt("iptables", ["--version"])
        let interfaces = try FactGatherer.interfaces(try await addresses.get())
        let routes =
            try FactGatherer.routes(try await routes4.get(), .ipv4)
            + FactGatherer.routes(try await routes6.get(), .ipv6)
        var iptables = try FactGatherer.iptables(try await version.get())
        let others = try await OtherBackEnd(runner: runner, backEnd: iptables.backend.other).chainsWithRules()
        iptables.otherRules = others.isEmpty ? nil : others
        return HostFacts(
            interfaces: interfaces, routes: routes, iptables: iptables, vpcCIDRs: vpcCIDRs, controller: controller)
    }

    package func observe(_ family: IPFamily) async throws(KernelError) -> OwnedState {
        let command = family.program("-save")
        return try parse(await runner.run(command, ["-c"]), of: command)
    }

    package func rehearse(_ family: IPFamily, _ text: String) async throws(KernelError) -> OwnedState {
        guard !text.isEmpty else { return .none }
        // One namespace for both: it is gone with its last process.
        let line = "\(family.program("-restore")) -w \(lockWait) && exec \(family.program("-save"))"
        return try parse(await runner.run("unshare", ["--net", "sh", "-c", line], input: text), of: line)
    }

    private func parse(_ text: String, of command: String) throws(KernelError) -> OwnedState {
        do throws(SaveTextError) {
            return try OwnedState(parsing: text)
        } catch {
            throw KernelError(error, from: command)
        }
    }

    package func restore(_ family: IPFamily, _ input: String) async throws(KernelError) {
        let arguments = ["--noflush", "--counters", "-w", "\(lockWait)"]
        _ = try await runner.run(family.program("-restore"), arguments, input: input)
    }

    package func rulesMark(contents: Bool) -> RulesMark {
        let names = Dictionary(uniqueKeysWithValues: IPFamily.allCases.map { ($0, legacyTables($0)) })
        return RulesMark(generation: marks.generation(), legacy: marks.legacy(names, contents))
    }

    package func surroundings() -> Surroundings {
        Surroundings(
            program: runner.locate("iptables").flatMap(resolved) ?? "",
            legacyTables: IPFamily.allCases.flatMap(legacyTables), generation: marks.generation())
    }

    private func legacyTables(_ family: IPFamily) -> [String] {
        let bytes = (try? readFile("/proc/net/\(family == .ipv4 ? "ip" : "ip6")_tables_names")).flatMap(\.self) ?? []
        return String(decoding: bytes, as: UTF8.self).split(separator: "\n").map(String.init)
    }

    package func bootID() -> String {
        guard let bytes = try? readFile("/proc/sys/kernel/random/boot_id") else { return "" }
        return String(decoding: bytes.filter { $0 != UInt8(ascii: "\n") }, as: UTF8.self)
    }

    package func interfacesInKeys(_ family: IPFamily) -> [String] {
        namesInFolder("/proc/sys/net/\(family.rawValue)/conf").filter { $0 != "all" }.map(SysctlSetting.keyPart)
    }

    package func sysctl(_ key: String) throws(KernelError) -> String? {
        do throws(StateFileError) {
            guard let bytes = try readFile(path(key)) else { return nil }
            return String(decoding: bytes.filter { $0 != UInt8(ascii: "\n") }, as: UTF8.self)
        } catch {
            throw KernelError(error.description)
        }
    }

    package func setSysctl(_ key: String, _ value: String) throws(KernelError) {
        do throws(StateFileError) {
            try writeInPlace(path(key), Array((value + "\n").utf8))
        } catch {
            throw KernelError("sysctl \(key)=\(value): \(error.description)")
        }
    }

    private func path(_ key: String) -> String { "/proc/sys/" + SysctlSetting.path(of: key) }
}

extension IPFamily {
    func program(_ suffix: String) -> String { program + suffix }
}
