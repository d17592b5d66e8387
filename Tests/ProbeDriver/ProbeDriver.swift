// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: natfleet contributors

import AgentCore
import AgentDataplane
import AgentNetlink
import AgentProbes
import Foundation
import Logging
import NATPolicy
import NetAddress
import Netfilter

/// The probe without the rest of the agent, for tests in labs: `ProbeDriver POLICY VPC-CIDR,…` with an effective policy as
/// JSON. Reads commands, a line each:
///
///     apply         load the policy's rules and turn forwarding on
///     sh COMMAND    run a line of shell
///     probe         probe once; prints the findings, a line of JSON
///     cost N        probe N times; prints microseconds of CPU time, of its own and of its programs, and of the clock, each
///     stop          take the client away
@main
struct ProbeDriver {
    let kernel: LinuxKernel
    let policy: EffectivePolicy
    let probe: NamespaceProbe
    let runner = CommandRunner()

    static func main() async throws {
        let arguments = CommandLine.arguments
        let policy = try JSONDecoder().decode(
            EffectivePolicy.self, from: Data(contentsOf: URL(fileURLWithPath: arguments[1])))
        let vpc = try arguments[2].split(separator: ",").map { try CIDR($0) }
        let runner = CommandRunner()
        let table = ConntrackTable()
        let driver = ProbeDriver(
            kernel: LinuxKernel(
                vpcCIDRs: vpc, controller: [], marks: RulesMarks(generation: { nil }, legacy: { _, _ in nil })),
            policy: policy,
            probe: NamespaceProbe(
                programs: { program, arguments, input throws(KernelError) in
                    try await runner.run(program, arguments, input: input)
                },
                links: NetlinkLinks(), flows: table,
                chains: { () throws(KernelError) in try nftChains() },
                log: Logger(label: "probe")
            ))
        while let line = readLine() {
            try await driver.perform(line)
            fflush(nil)
        }
    }

    private func perform(_ line: String) async throws {
        let words = line.split(separator: " ", maxSplits: 1).map(String.init)
        switch words.first {
        case "apply": try await apply()
        case "sh": _ = try await runner.run("sh", ["-ec", words[1]])
        case "probe":
            let findings = await probe.run(try await plan())
            print(String(decoding: try JSONEncoder().encode(findings), as: UTF8.self))
        case "cost": try await measure(times: Int(words[1]) ?? 1)
        case "stop": await probe.stop()
        default: throw KernelError("no such command: \(line)")
        }
    }

    private func plan() async throws -> ProbePlan {
        let facts = try await kernel.facts()
        return ProbePlan(try compile(policy, on: facts), of: policy, on: facts)
    }

    private func apply() async throws {
        let compiled = try compile(policy, on: try await kernel.facts())
        for setting in compiled.sysctls { try? kernel.setSysctl(setting.key, setting.value) }
        for family in IPFamily.allCases where !compiled.ruleset[family].isEmpty {
            let program = family == .ipv4 ? "iptables-restore" : "ip6tables-restore"
            let text = renderRestore(compiled.ruleset[family], jumps: .first)
            _ = try await runner.run(program, ["--noflush", "-w", "10"], input: text)
        }
        for setting in compiled.forwarding { try kernel.setSysctl(setting.key, setting.value) }
    }

    private func measure(times: Int) async throws {
        let plan = try await plan()
        _ = await probe.run(plan)
        let (cpu, clock) = (processorTime(), ContinuousClock.now)
        for _ in 0..<times { _ = await probe.run(plan) }
        let elapsed = clock.duration(to: .now).components
        let microseconds = Int(elapsed.seconds) * 1_000_000 + Int(elapsed.attoseconds / 1_000_000_000_000)
        print("\((processorTime() - cpu) / times) \(microseconds / times)")
    }

    private func processorTime() -> Int {
        [RUSAGE_SELF.rawValue, RUSAGE_CHILDREN.rawValue].reduce(0) { sum, who in
            var usage = rusage()
            getrusage(who, &usage)
            return [usage.ru_utime, usage.ru_stime].reduce(sum) { $0 + Int($1.tv_sec) * 1_000_000 + Int($1.tv_usec) }
        }
    }
}
