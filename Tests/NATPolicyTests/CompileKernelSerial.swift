// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: natfleet contributors

import Foundation
import NATPolicy
import NetAddress
import Netfilter
import TestSupport
import Testing

/// Ten thousand port forwards in the real kernel, in throwaway namespaces.
@Suite(
    .enabled("needs root, iptables and namespaces") {
        guard getuid() == 0 else { return KernelSuite.isRequired }
        return await KernelSuite.canRun(IptablesBackend.programs)
    })
struct CompileKernelSerial {
    private let ports = [10_000, 14_987, 19_999]

    /// A client in a namespace of its own, the instance on eth0, and targets behind eth1, where nobody listens: the
    /// rules have decided by then.
    private let network = """
        ip netns add client
        ip link add eth0 type veth peer name eth0 netns client
        ip link add eth1 type veth peer name targets netns client
        for device in eth0 eth1; do ip link set $device up; done
        ip address add 10.0.0.1/24 dev eth0
        ip address add 2001:db8:0:1::1/64 dev eth0 nodad
        ip route add 10.9.0.0/16 dev eth1
        ip route add 2001:db8:9::/48 dev eth1
        ip -n client link set eth0 up
        ip -n client address add 10.0.0.7/24 dev eth0
        ip -n client address add 2001:db8:0:1::7/64 dev eth0 nodad
        sysctl -qw net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1
        """

    private func facts(_ backend: IptablesBackend) throws -> HostFacts {
        var facts = try CompileFixtures.single()
        facts.iptables = .init(backend: backend.name == "nft" ? .nft : .legacy, version: "1.8.9")
        return facts
    }

    @Test(arguments: IptablesBackend.all)
    func firstMiddleAndLastAreForwardedAndOneChangeIsOneChain(backend: IptablesBackend) async throws {
        let facts = try facts(backend)
        var forwards = try CompileFixtures.tenThousand(backend.family)
        let old = try compile(CompileFixtures.policy([], forwards), on: facts).ruleset[backend.family].ownedState
        let address = backend.family == .ipv4 ? "10.0.0.1" : "2001:db8:0:1::1"
        let send = ports.map { "ip netns exec client bash -c 'echo > /dev/udp/\(address)/\($0)'" }

        let saved = try await backend.load(
            plan(from: .none, to: old).steps.map(\.text), before: network, after: send.joined(separator: "\n"))
        let read = try OwnedState(parsing: saved)
        #expect(differences(of: read, from: old).isEmpty)
        for chains in [read.nat.chains, read.filter.chains] {
            let counted = chains.values.flatMap(\.self).filter {
                $0.counters?.packets == 1 && $0.text.contains("natfleet:web/")
            }
            #expect(counted.count == ports.count)
            for port in ports {
                #expect(counted.contains { $0.text.contains("\"natfleet:web/port-\(port)\"") }, "\(port)")
            }
        }

        forwards[5_000].to = try Endpoint(backend.family == .ipv4 ? "10.9.9.9:99" : "[2001:db8:9::9]:99")
        let new = try compile(CompileFixtures.policy([], forwards), on: facts).ruleset[backend.family].ownedState
        let steps = plan(from: read, to: new).steps.map(\.text)
        #expect(steps.count == 3)
        for step in steps {
            #expect(step.split(separator: "\n").count { $0.hasPrefix(":") } == 1)
            #expect(step.utf8.count < 8_000)
        }
        let mended = try OwnedState(parsing: try await backend.load([renderRestore(read)] + steps))
        #expect(differences(of: mended, from: new).isEmpty)
        guard backend.takesCounters else { return }
        for chains in [mended.nat.chains, mended.filter.chains] {
            let counted = chains.values.flatMap(\.self).count {
                $0.counters?.packets == 1 && $0.text.contains("natfleet:web/")
            }
            #expect(counted == ports.count)
        }
    }

    /// Ranges across borders, several addresses, clients that are hidden, and back: the kernel takes every step and
    /// prints what was meant.
    @Test(arguments: IptablesBackend.all.filter { $0.family == .ipv4 })
    func kernelTakesEveryPlanBetweenTrees(backend: IptablesBackend) async throws {
        var random = SeededGenerator(seed: 5)
        let facts = try facts(backend)
        var (state, texts) = (OwnedState.none, [String]())
        for count in [30, 16, 40, 10, 17, 0] {
            let forwards = try CompileFixtures.randomForwards(count, .tcp, from: 0, spread: 60, using: &random)
            let policy = CompileFixtures.policy([try CompileFixtures.egress()], forwards)
            let next = try compile(policy, on: facts).ruleset.ipv4.ownedState
            texts += plan(from: state, to: next).steps.map(\.text)
            let saved = try await backend.load(texts)
            #expect(differences(of: try OwnedState(parsing: saved), from: next).map(\.description) == [])
            state = next
        }
    }
}
