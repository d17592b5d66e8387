// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: natfleet contributors

import AgentCore
import NATPolicy
import NetAddress
import Netfilter
import Testing

/// Flows of port forwards that were removed or changed.
struct FlowSweepForwardTests {
    typealias Make = FlowFixtures

    /// Through `self:8001` to 10.0.1.80:80, and the like.
    private static let outsider = "198.51.100.99:5000"
    private static let tcp = "tcp \(outsider) 10.0.0.11:8001 10.0.1.80:80 \(outsider)"
    private static let udp = "udp \(outsider) 10.0.0.11:8001 10.0.1.80:80 \(outsider)"
    private static let hidden = "tcp 10.0.1.10:5000 10.0.0.11:8001 10.0.1.80:80 10.0.0.11:5000"
    private static let bare = "tcp 10.0.1.10:5000 10.0.0.11:8001 10.0.1.80:80 10.0.1.10:5000"

    struct Change: Sendable, CustomStringConvertible {
        let description: String
        let before: [PortForward]
        let after: [PortForward]
        let flow: String
        let fault: FlowSweep.Fault?
    }

    static func changes() throws -> [Change] {
        let plain = try Make.forward()
        let udp = try Make.forward(to: "10.0.1.80:80", .udp, name: "dns")
        func row(
            _ description: String, _ before: [PortForward], _ after: [PortForward], _ flow: String,
            _ fault: FlowSweep.Fault? = nil
        ) -> Change {
            Change(description: description, before: before, after: after, flow: flow, fault: fault)
        }
        return [
            row("unchanged", [plain], [plain], tcp),
            row("removed", [plain], [], tcp, .forwardChanged),
            row("removed, UDP", [udp], [], Self.udp, .forwardChanged),
            row("other target", [plain], [try Make.forward(to: "10.0.2.80:80")], tcp, .forwardChanged),
            row("other target port", [plain], [try Make.forward(to: "10.0.1.80:81")], tcp, .forwardChanged),
            row("other protocol", [plain], [udp], tcp, .forwardChanged),
            row("another port is forwarded", [plain], [try Make.forward("8002")], tcp, .forwardChanged),
            row("renamed", [plain], [try Make.forward(name: "web")], tcp),
            row("another one comes", [plain], [plain, udp], tcp),
            row("another one goes", [plain, udp], [plain], tcp),
            row("a new one, not in use before", [], [plain], tcp),
            row("this source is let in", [try Make.forward(sources: ["198.51.100.0/24"])], [plain], tcp),
            row(
                "this source is shut out", [plain], [try Make.forward(sources: ["203.0.113.0/24"])], tcp,
                .forwardChanged),
            row("another source is shut out", [plain], [try Make.forward(sources: ["198.51.100.0/24"])], tcp),
            // What others turned round, even from an address and port of ours.
            row("foreign, removed", [plain], [], "tcp \(outsider) 10.0.0.11:8001 10.0.7.7:80 \(outsider)"),
            row("foreign, other port", [plain], [], "tcp \(outsider) 10.0.0.11:8001 10.0.1.80:8080 \(outsider)"),
            row("foreign, changed", [plain], [udp], "tcp \(outsider) 10.0.0.11:9999 10.0.1.80:80 \(outsider)"),
            row("drained in an earlier change", [], [], tcp),
            row("the host's own service", [], [plain], "tcp \(outsider) 10.0.0.11:8001"),
            row("the host's own service, before", [plain], [], "tcp \(outsider) 10.0.0.11:8001"),
            row("from the host itself", [plain], [], "tcp 10.0.0.11:5000 10.0.0.11:8001 10.0.1.80:80 10.0.0.11:5000"),
            // Ranges.
            row(
                "range with shift, kept", [try Make.forward("8000-8019", to: "10.0.1.80:9000")],
                [try Make.forward("8000-8019", to: "10.0.1.80:9000")],
                "tcp \(outsider) 10.0.0.11:8019 10.0.1.80:9019 \(outsider)"),
            row(
                "range grows", [try Make.forward("8000-8009", to: "10.0.1.80:9000")],
                [try Make.forward("8000-8019", to: "10.0.1.80:9000")],
                "tcp \(outsider) 10.0.0.11:8009 10.0.1.80:9009 \(outsider)"),
            row(
                "range shrinks", [try Make.forward("8000-8019", to: "10.0.1.80:9000")],
                [try Make.forward("8000-8009", to: "10.0.1.80:9000")],
                "tcp \(outsider) 10.0.0.11:8010 10.0.1.80:9010 \(outsider)", .forwardChanged),
            row(
                "range shifts otherwise", [try Make.forward("8000-8019", to: "10.0.1.80:9000")],
                [try Make.forward("8000-8019", to: "10.0.1.80:9001")],
                "tcp \(outsider) 10.0.0.11:8000 10.0.1.80:9000 \(outsider)", .forwardChanged),
            row(
                "range becomes single ports", [try Make.forward("8000-8001", to: "10.0.1.80:9000")],
                [
                    try Make.forward("8000", to: "10.0.1.80:9000", name: "a"),
                    try Make.forward("8001", to: "10.0.1.80:9001", name: "b"),
                ], "tcp \(outsider) 10.0.0.11:8001 10.0.1.80:9001 \(outsider)"),
            row(
                "range that keeps its ports", [try Make.forward("8000-8019", to: "10.0.1.80:8000")], [],
                "tcp \(outsider) 10.0.0.11:8007 10.0.1.80:8007 \(outsider)", .forwardChanged),
            // IPv6.
            row(
                "IPv6 removed", [try Make.forward(to: "[2001:db8:0:101::80]:80")], [plain],
                "tcp [2001:db8:ffff::99]:5000 [2001:db8:0:100::11]:8001 [2001:db8:0:101::80]:80 [2001:db8:ffff::99]:5000",
                .forwardChanged),
            row(
                "IPv6 kept", [try Make.forward(to: "[2001:db8:0:101::80]:80"), plain],
                [try Make.forward(to: "[2001:db8:0:101::80]:80")],
                "tcp [2001:db8:ffff::99]:5000 [2001:db8:0:100::11]:8001 [2001:db8:0:101::80]:80 [2001:db8:ffff::99]:5000"
            ),
            // Whom the target sees.
            row("hidden from now on", [plain], [try Make.forward(masquerade: true)], tcp, .forwardChanged),
            row(
                "no longer hidden", [try Make.forward(masquerade: true)], [plain],
                "tcp \(outsider) 10.0.0.11:8001 10.0.1.80:80 10.0.0.11:5000", .forwardChanged),
            row(
                "hidden as before", [try Make.forward(masquerade: true)], [try Make.forward(masquerade: true)],
                "tcp \(outsider) 10.0.0.11:8001 10.0.1.80:80 10.0.0.11:5000"),
            row("hairpin from now on, from inside", [plain], [try Make.forward(hairpin: true)], bare, .forwardChanged),
            row("hairpin from now on, from outside", [plain], [try Make.forward(hairpin: true)], tcp),
            row("hairpin no more, from inside", [try Make.forward(hairpin: true)], [plain], hidden, .forwardChanged),
            row("hairpin no more, from outside", [try Make.forward(hairpin: true)], [plain], tcp),
            row("hairpin as before", [try Make.forward(hairpin: true)], [try Make.forward(hairpin: true)], hidden),
            row(
                "hairpin that was missing for a while", [try Make.forward(hairpin: true)],
                [try Make.forward(hairpin: true)], bare, .untranslated),
        ]
    }

    /// With and without a masquerade that leaves what the VPC says to itself alone.
    @Test(arguments: try changes())
    func flowsOfChangedForwardsEnd(change: Change) throws {
        for facts in [try Make.single(), try Make.double()] {
            for egress in [[], [try Make.egress(except: "10.0.0.0/8", "2001:db8:0:100::/56")]] {
                let sweep = try Make.sweep(
                    from: Make.policy(egress, change.before), to: Make.policy(egress, change.after), on: facts)
                #expect(sweep.fault(of: try TrackedFlow(change.flow)) == change.fault)
            }
        }
    }

    @Test func drainingSparesTCPOnly() throws {
        let draining: Set = ["natfleet:web/PortMapping"]
        for after in [[], [try Make.forward(to: "10.0.2.80:80")], [try Make.forward(masquerade: true)]] {
            let sweep = try Make.sweep(
                from: Make.policy([], [try Make.forward()]), to: Make.policy([], after), on: Make.single(),
                draining: draining)
            #expect(sweep.fault(of: try TrackedFlow(Self.tcp)) == nil)
        }
        let udp = try Make.sweep(
            from: Make.policy([], [try Make.forward("8001", to: "10.0.1.80:80", .udp)]), to: Make.policy(),
            on: Make.single(), draining: draining)
        #expect(udp.fault(of: try TrackedFlow(Self.udp)) == .forwardChanged)
        let other = try Make.sweep(
            from: Make.policy([], [try Make.forward(name: "other")]), to: Make.policy(), on: Make.single(),
            draining: draining)
        #expect(other.fault(of: try TrackedFlow(Self.tcp)) == .forwardChanged)
    }

    /// Whoever came in through a port forward that stays is not cut off by a masquerade that now covers everybody.
    @Test func aNewMasqueradeOfEverybodyLeavesForwardsAlone() throws {
        let forward = [try Make.forward()]
        let vpc = Make.policy([try Make.egress()], forward)
        let any = Make.policy([try Make.egress(.any)], forward)
        let flow = try TrackedFlow(Self.tcp)
        #expect(try Make.sweep(from: vpc, to: any, on: Make.single()).fault(of: flow) == nil)
        #expect(try Make.sweep(from: any, to: vpc, on: Make.single()).fault(of: flow) == nil)
        // It was there all along: the flow began while the rule was missing.
        #expect(try Make.sweep(from: any, to: any, on: Make.single()).fault(of: flow) == .untranslated)
        // To the internet by way of a port forward: a private source must not go on.
        let outward = [try Make.forward(to: "198.51.100.7:80")]
        let leak = try TrackedFlow("tcp 10.0.1.10:5000 10.0.0.11:8001 198.51.100.7:80 10.0.1.10:5000")
        let sweep = try Make.sweep(
            from: Make.policy([], outward), to: Make.policy([try Make.egress()], outward), on: Make.single())
        #expect(sweep.fault(of: leak) == .untranslated)
    }

    @Test func tenThousandForwardsCostLittleMore() throws {
        let facts = try Make.single()
        var forwards = try (10_000..<20_000).map { try Make.forward("\($0)", to: "10.0.1.80:80", name: "port-\($0)") }
        let before = try compile(Make.policy([try Make.egress()], forwards), on: facts).ruleset
        forwards[5_000] = try Make.forward("15000", to: "10.0.2.80:80", name: "port-15000")
        let after = try compile(Make.policy([try Make.egress()], forwards), on: facts).ruleset
        let sweep = FlowSweep(from: before, to: after, facts: facts)
        var faults: [UInt16] = []
        let began = ContinuousClock.now
        for port in 10_000..<20_000 {
            let flow = try TrackedFlow("tcp \(Self.outsider) 10.0.0.11:\(port) 10.0.1.80:80 \(Self.outsider)")
            if sweep.fault(of: flow) != nil, let port = flow.original.destinationPort { faults.append(port) }
        }
        #expect(faults == [15_000])
        // Rule by rule it would take minutes.
        #expect(began.duration(to: .now) < .seconds(20))
    }
}
