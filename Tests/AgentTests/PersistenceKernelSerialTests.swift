// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: natfleet contributors

import AgentCore
import AgentDataplane
import NetAddress
import Netfilter
import TestSupport
import Testing

/// What is on disk is what the real programs load at boot, both back ends, with others' rules beside ours.
@Suite(.enabled("needs iptables and namespaces") { await KernelSuite.canRun(IptablesBackend.programs) })
struct PersistenceKernelSerialTests {
    private func backEnd(_ name: String, _ family: IPFamily) throws -> IptablesBackend {
        try #require(IptablesBackend.all.first { $0.name == name && $0.family == family })
    }

    @Test(arguments: ["nft", "legacy"], [SavingMachine.Kind.redHat, .debian])
    func theSavedFilesLoadAsTheyRan(_ name: String, _ kind: SavingMachine.Kind) async throws {
        let machine = try SavingMachine(kind)
        for family in IPFamily.allCases {
            let program = try backEnd(name, family)
            try machine.write(
                "kernel.\(SavingMachine.name(family))", try await program.load([SavingMachine.kernel(family)]))
        }
        let wanted = try machine.wanted()
        #expect(await machine.persistence().save(wanted).faults == [])
        for family in IPFamily.allCases {
            let program = try backEnd(name, family)
            let saved = try #require(machine.saved(family, kind))
            let loaded = try await program.load([saved])
            #expect(SavedRules(loaded).isSame(as: SavedRules(saved)))
        }
        #expect(await machine.persistence().remove() == [])
        for family in IPFamily.allCases {
            let program = try backEnd(name, family)
            let loaded = try await program.load([try #require(machine.saved(family, kind))])
            #expect(!loaded.contains("NATFLEET") && loaded.contains("REJECT"))
        }
    }

    /// mktemp fails in the init script, and then natfleet's own write.
    @Test(arguments: [
        (
            "mount -t tmpfs -o size=16k full {}; cat /dev/zero >{}/filler 2>/dev/null ||:", "No space left on device",
            false
        ),
        ("mount --bind {} {}; mount -o remount,bind,ro {}", "Read-only file system", true),
    ])
    func aFolderThatTakesNothingIsToldAndTheRestIsSaved(_ way: String, _ says: String, _ isAdvised: Bool) async throws {
        let machine = try SavingMachine(.redHat)
        let (folder, wanted) = ("\(machine.root)/etc/sysconfig", try machine.wanted())
        let made = try await runProgram("/bin/sh", ["-ec", way.replacing("{}", with: folder)])
        try #require(made.succeeded, "\(made.errors)")
        let report = await machine.persistence().save(wanted)
        _ = try await runProgram("/bin/umount", [folder])
        #expect(report.faults.filter { $0.kind == .rules }.map(\.family) == [.ipv4, .ipv6])
        for fault in report.faults where fault.kind == .rules {
            #expect(fault.message.contains("exit status 1") && fault.message.contains(says), "\(fault)")
            #expect(fault.message.contains("restart natfleet-agent") == isAdvised, "\(fault)")
        }
        #expect(machine.text("etc/sysctl.d/90-natfleet.conf") != nil)
        #expect(await machine.persistence().mend(wanted).isPersisted)
    }
}
