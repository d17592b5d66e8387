// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: natfleet contributors

import NetAddress
import Netfilter
import TestSupport
import Testing

/// Asks the real kernel, in throwaway namespaces, what our rules look like and whether our plans are obeyed.
@Suite(.enabled("needs iptables and namespaces") { await KernelSuite.canRun(IptablesBackend.programs) })
struct KernelTextSerial {
    @Test(arguments: IptablesBackend.all)
    func kernelPrintsBackWhatWeWrite(backend: IptablesBackend) async throws {
        let rules = try RuleShape.rules(backend.family)
        for placement in [JumpPlacement.last, .first] {
            let saved = try await backend.load([renderRestore(rules, jumps: placement)])
            let state = try OwnedState(parsing: saved)
            #expect(differences(of: state, from: rules.ownedState).map(\.description) == [])
        }
    }

    @Test(arguments: IptablesBackend.all)
    func kernelObeysPlans(backend: IptablesBackend) async throws {
        let desired = try RuleShape.rules(backend.family).ownedState
        var other = desired
        other.nat.chains["NATFLEET-PRE"]?.removeLast()
        other.filter.chains["NATFLEET-FWD"]?.reverse()
        other.filter.chains["NATFLEET-FWD"]?.append(.init("-A NATFLEET-FWD -j DROP"))
        let foreign = "*filter\n:OTHERS - [0:0]\n[4:400] -A OTHERS -j RETURN\n[5:500] -A FORWARD -j OTHERS\nCOMMIT\n"
        let route: [OwnedState] = [.none, other, desired, other, .none]

        var texts = [foreign]
        for (from, to) in zip(route, route.dropFirst()) {
            texts += plan(from: from, to: to).steps.map(\.text)
            let saved = try await backend.load(texts)
            let state = try OwnedState(parsing: saved)
            #expect(differences(of: state, from: to).map(\.description) == [])
            let foreignRules = [
                "[\(backend.takesCounters ? "4:400" : "0:0")] -A OTHERS -j RETURN",
                "[\(backend.takesCounters ? "5:500" : "0:0")] -A FORWARD -j OTHERS",
            ]
            #expect(foreignRules.allSatisfy(saved.contains))
            #expect(state.displacedJumps.isEmpty)
        }
    }

    @Test(arguments: IptablesBackend.all)
    func kernelTakesCountersAndMendsJumps(backend: IptablesBackend) async throws {
        let desired = try RuleShape.rules(backend.family).ownedState
        let counted =
            renderRestore(desired).split(separator: "\n")
            .map { $0.hasPrefix("-A NATFLEET") ? "[7:700] \($0)" : "\($0)" }.joined(separator: "\n") + "\n"
        let twice = "*filter\n-A FORWARD -j NATFLEET-FWD\n-A FORWARD -i eth7 -j NATFLEET-FWD\nCOMMIT\n"
        let found = try OwnedState(parsing: try await backend.load([counted, twice]))
        #expect(differences(of: found, from: desired).count == 2)

        var shorter = desired
        shorter.filter.chains["NATFLEET-FWD"]?.removeFirst()
        let steps = plan(from: found, to: shorter).steps.map(\.text)
        let mended = try OwnedState(parsing: try await backend.load([counted, twice] + steps))
        #expect(mended == shorter)
        guard backend.takesCounters else { return }
        let counters = mended.filter.chains["NATFLEET-FWD"]?.map(\.counters)
        #expect(counters?.allSatisfy { $0 == .init(packets: 7, bytes: 700) } == true)
    }
}
