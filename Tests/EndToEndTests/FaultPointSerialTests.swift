// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: natfleet contributors

import FleetModel
import Foundation
import TestSupport
import Testing

/// An agent that is killed at each step of a trial, and the one that starts after it.
@Suite(.enabled("needs root and namespaces") { await FleetLab.isAvailable })
struct FaultPointSerialTests {
    /// Steps before which an agent dies, one after the other, and what they leave.
    struct Point: Sendable {
        var steps: [String]
        /// The new rules are in the kernel by then.
        var isApplied = false
        /// The way back is on disk by then: the next agent takes back, and does not try again.
        var isArmed = true
        /// What was confirmed is on disk by then: the next agent goes on from there.
        var isSaved = false
        /// Somebody's rule makes the trial fail.
        var fails = false

        static let all = [
            Point(steps: ["stage"], isArmed: false), Point(steps: ["test"], isArmed: false),
            Point(steps: ["arm"], isArmed: false), Point(steps: ["apply"]), Point(steps: ["prove"], isApplied: true),
            Point(steps: ["confirm"], isApplied: true), Point(steps: ["persist"], isApplied: true),
            Point(steps: ["revert"], isApplied: true, fails: true),
            Point(steps: ["persist", "recover", "recover"], isApplied: true),
            Point(steps: ["forget"], isApplied: true, isSaved: true),
        ]
    }

    private static let foreign = "FORWARD -m comment --comment foreign -j DROP"

    @Test(arguments: BackEnd.allCases)
    func theNextAgentTakesBackWhatWasNotConfirmedAndSaved(backEnd: BackEnd) async throws {
        try await FleetLab.run { lab in
            try await lab.use(backEnd, on: "nat-a")
            let controller = try await lab.startController()
            var agent = try await lab.startAgent("nat-a")
            try await lab.apply(Policies.egress)
            try await lab.converged("nat-a")
            let before = try await lab.machine("nat-a")
            for (number, point) in Point.all.enumerated() {
                await agent.end()
                let (what, rule) = ("\(point.steps)", "--to-destination 10.0.1.80:\(81 + number)")
                if point.fails { try await lab.shell("nat-a", "iptables -t mangle -A \(Self.foreign)") }
                try await lab.apply(Policies.portMapping("nat-a", subnet: 1, port: 81 + number))
                for step in point.steps {
                    let program = FleetLab.binaries + "/natfleet-agent"
                    let mortal = try lab.daemon("nat-a", ["env", "NATFLEET_FAULT_POINT=\(step)", program, "run"])
                    try await eventually(within: 30, "dies before \(step): \(mortal.output)") { !mortal.isRunning }
                    #expect(try await lab.allRules("nat-a").contains(rule) == point.isApplied, "\(what)")
                }
                if point.fails { try await lab.shell("nat-a", "iptables -t mangle -D \(Self.foreign)") }

                agent = try lab.runAgent("nat-a")
                if point.isSaved {
                    try await lab.converged("nat-a")
                    #expect(try await lab.instance("nat-a")?.lastOutcome?.result == .applied && agent.isRunning)
                    #expect(try await lab.allRules("nat-a").contains(rule), "\(what)")
                    #expect(!agent.output.contains("put back"), "\(what): \(agent.output)")
                    try await lab.shell("nat-a", "! ls /var/lib/natfleet-agent/trial.json 2>/dev/null")
                } else if point.isArmed {
                    try await eventually(within: 30, "takes back \(what): \(agent.output)") {
                        let instance = try await lab.instance("nat-a")
                        return instance?.lastOutcome?.hash == instance?.desiredHash
                            && instance?.lastOutcome?.result == .reverted
                    }
                    expectSame(before, try await lab.machine("nat-a"), what)
                } else {
                    // Nothing was touched, so there is nothing against trying.
                    try await lab.converged("nat-a")
                }
                #expect(try await lab.natfleet("delete", "policy", "web-nat-a").succeeded)
                try await lab.converged("nat-a")
                expectSame(before, try await lab.machine("nat-a"), what)
            }
            #expect(try await lab.leaks("nat-a") == "ipv4=0 ipv6=0")
            #expect(agent.isRunning && controller.isRunning)
        }
    }
}
