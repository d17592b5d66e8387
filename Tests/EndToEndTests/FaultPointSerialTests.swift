// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: natfleet contributors

import FleetModel
import Foundation
import TestSupport
import Testing

/// An agent that is killed at each step of a trial, and the one that starts after it.
@Suite(.enabled("needs root and namespaces") { await FleetLab.isAvailable })
struct FaultPointSerialTests {
    /// A step before which the agent dies, and what it leaves.
    struct Point: Sendable {
        var step: String
        /// The new rules are in the kernel by then.
        var isApplied = false
        /// The way back is on disk by then: the next agent takes back, and does not try again.
        var isArmed = true

        static let all = [
            Point(step: "test", isArmed: false), Point(step: "arm", isArmed: false), Point(step: "apply"),
            Point(step: "prove", isApplied: true), Point(step: "persist", isApplied: true),
        ]
    }

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
                let mortal = try lab.daemon(
                    "nat-a",
                    ["env", "NATFLEET_FAULT_POINT=\(point.step)", FleetLab.binaries + "/natfleet-agent", "run"])
                try await lab.apply(Policies.portMapping("nat-a", subnet: 1, port: 81 + number))
                try await eventually(within: 30, "dies before \(point.step): \(mortal.output)") { !mortal.isRunning }
                let left = try await lab.allRules("nat-a").contains("--to-destination 10.0.1.80:\(81 + number)")
                #expect(left == point.isApplied, "\(point.step)")

                agent = try lab.runAgent("nat-a")
                if point.isArmed {
                    try await eventually(within: 30, "takes back \(point.step): \(agent.output)") {
                        let instance = try await lab.instance("nat-a")
                        return instance?.lastOutcome?.hash == instance?.desiredHash
                            && instance?.lastOutcome?.result == .reverted
                    }
                    expectSame(before, try await lab.machine("nat-a"), point.step)
                } else {
                    // Nothing was touched, so there is nothing against trying.
                    try await lab.converged("nat-a")
                }
                #expect(try await lab.natfleet("delete", "policy", "web-nat-a").succeeded)
                try await lab.converged("nat-a")
                expectSame(before, try await lab.machine("nat-a"), point.step)
            }
            #expect(try await lab.leaks("nat-a") == "ipv4=0 ipv6=0")
            #expect(agent.isRunning && controller.isRunning)
        }
    }
}
