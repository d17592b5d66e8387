// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: natfleet contributors

import NetAddress
import Netfilter
import TestSupport
import Testing

struct IptablesBackend: CustomTestStringConvertible {
    let family: IPFamily
    let name: String

    static let all = IPFamily.allCases.flatMap { family in
        ["nft", "legacy"].map { IptablesBackend(family: family, name: $0) }
    }
    static let programs = all.flatMap { ["\($0.path)-restore", "\($0.path)-save"] } + ["/usr/bin/unshare"]

    var path: String { "/usr/sbin/\(family == .ipv4 ? "iptables" : "ip6tables")-\(name)" }
    /// ip6tables-nft 1.8.9 reads counters and drops them, in whatever form they are given.
    var takesCounters: Bool { !(family == .ipv6 && name == "nft") }
    var testDescription: String { "\(family.label) \(name)" }
}

/// Asks the real kernel, in throwaway namespaces, what our rules look like and whether our plans are obeyed.
@Suite(.enabled("needs iptables and namespaces") { await KernelSuite.canRun(IptablesBackend.programs) })
struct KernelTextSerial {
    /// Feeds the texts to restore one after the other in a namespace of their own and returns what save prints.
    private func load(_ texts: [String], with backend: IptablesBackend) async throws -> String {
        // The lock file is in /run, which is not ours to write to.
        var script = "set -e\nmount -t tmpfs tmpfs /run\n"
        for (number, text) in texts.enumerated() {
            script += "\(backend.path)-restore --noflush --counters -w 10 <<'EOF-\(number)'\n\(text)EOF-\(number)\n"
        }
        script += "\(backend.path)-save --counters\n"
        let result = try await runProgram(
            "/usr/bin/unshare", ["--map-root-user", "--net", "--mount", "/bin/sh"], input: script)
        try #require(result.succeeded, "\(result.errors)")
        return result.output
    }

    @Test(arguments: IptablesBackend.all)
    func kernelPrintsBackWhatWeWrite(backend: IptablesBackend) async throws {
        let rules = try RuleShape.rules(backend.family)
        for placement in [JumpPlacement.last, .first] {
            let saved = try await load([renderRestore(rules, jumps: placement)], with: backend)
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
            let saved = try await load(texts, with: backend)
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
        let found = try OwnedState(parsing: try await load([counted, twice], with: backend))
        #expect(differences(of: found, from: desired).count == 2)

        var shorter = desired
        shorter.filter.chains["NATFLEET-FWD"]?.removeFirst()
        let steps = plan(from: found, to: shorter).steps.map(\.text)
        let mended = try OwnedState(parsing: try await load([counted, twice] + steps, with: backend))
        #expect(mended == shorter)
        guard backend.takesCounters else { return }
        let counters = mended.filter.chains["NATFLEET-FWD"]?.map(\.counters)
        #expect(counters?.allSatisfy { $0 == .init(packets: 7, bytes: 700) } == true)
    }
}
