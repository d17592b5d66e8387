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
}
