// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: natfleet contributors

import AgentCore
import NetAddress

@testable import AgentDataplane

/// The disk of a fake host, with the programs of its distribution, which save the rules that the host has just then.
struct FakeDisk: Persistence {
    let machine: SavingMachine
    let host: FakeHost

    init(_ kind: SavingMachine.Kind, of host: FakeHost) throws {
        machine = try SavingMachine(kind)
        self.host = host
    }

    private func real() -> LinuxPersistence {
        for family in IPFamily.allCases {
            try? machine.write("kernel.\(SavingMachine.name(family))", host.rules(family))
        }
        return machine.persistence()
    }

    func method() async -> PersistenceMethod { await real().method() }
    func save(_ wanted: PersistentState) async -> PersistenceReport { await real().save(wanted) }
    func mend(_ wanted: PersistentState) async -> PersistenceReport { await real().mend(wanted) }
    func check(_ wanted: PersistentState) async -> PersistenceReport { await real().check(wanted) }
    func enabledUnits() async -> [String] { await real().enabledUnits() }
    func remove() async -> [String] { await real().remove() }
}
