// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: natfleet contributors

import AgentCore
import AgentDataplane
import FleetAPI
import FleetModel
import Glibc
import NATPolicy
import TestSupport
import Testing

/// The real table is sized and gets back what it had: by the first network namespace, which alone may; elsewhere that is said.
@Suite(.enabled("needs iptables and namespaces") { await KernelSuite.canRun(IptablesBackend.programs) })
struct ConntrackKernelSerialTests {
    private func inside(_ line: String) async throws -> ProgramResult {
        try await runProgram("/usr/bin/unshare", ["--net", "/bin/sh", "-c", line])
    }

    @Test func theKernelTakesTheSize() async throws {
        // One table for the whole machine: another run of this test has to wait.
        let lock = open("/run/natfleet-conntrack.lock", O_RDWR | O_CREAT | O_CLOEXEC, 0o600)
        try #require(lock >= 0 && flock(lock, LOCK_EX) == 0)
        defer { close(lock) }
        // Whoever tracks a connection brings the module.
        #expect(try await inside("iptables -t nat -A POSTROUTING -j MASQUERADE").succeeded)
        let kernel = LinuxKernel(
            vpcCIDRs: [], controller: [], marks: RulesMarks(generation: { nil }, legacy: { _, _ in nil }))
        let keys = [ConntrackSize.maxKey, ConntrackSize.bucketsKey]
        func table() throws -> [String?] { try keys.map { try kernel.sysctl($0) } }
        let found = try table()
        let wanted = try #require(found[0].flatMap { Int($0) }) + 1024
        let files = MemoryFiles(Faults())
        let sizing = ConntrackSizing(kernel: kernel, files: files, memoryKiB: nil)
        var policy = try FakeHost.desired().policy
        policy.conntrack = Conntrack(max: .entries(wanted))

        guard access("/proc/sys/net/netfilter/nf_conntrack_max", W_OK) == 0 else {
            let condition = try #require(sizing.apply(policy).condition)
            #expect(condition.code == "conntrack-not-sized" && condition.message.contains("stays \(wanted - 1024)"))
            #expect(try table() == found)
            return
        }
        #expect(sizing.apply(policy).size?.max == wanted)
        #expect(try table()[0] == "\(wanted)")
        // In a namespace, as an instance's agent sees it.
        #expect(try await inside("sysctl -n net.netfilter.nf_conntrack_max").output == "\(wanted)\n")
        #expect(sizing.apply(.none) == .init())
        #expect(try table() == found)
    }
}
