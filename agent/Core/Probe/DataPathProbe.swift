// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: natfleet contributors

package import NetAddress

/// Sends packets as a private client would and tells what became of them.
package protocol DataPathProbe: Sendable {
    /// Takes milliseconds where all is well, and at most some ten seconds where targets are silent or a culprit is
    /// looked for. Runs one after the other, in the order of the calls. A plan for other clients than the last one's
    /// reconfigures.
    func run(_ plan: ProbePlan) async -> [ProbeFinding]
    /// Makes the client of a plan that is to run soon, without a packet; what fails is for `run` to tell.
    /// - Parameter tracked: of the plan's addresses those that somebody's flows have, where somebody has just looked.
    func prepare(_ plan: ProbePlan, tracked: Set<IPAddress>?) async
    /// Takes the client away. `run` brings it back.
    func stop() async
}

/// The probe's own interface on this host: not a fact that rules depend on.
package enum ProbeInterface {
    package static let name = "natfleet-probe"
}

/// Runs one of the distribution's programs, found by its name: arguments, input; standard output.
package typealias ProgramRunner =
    @Sendable (_ program: String, _ arguments: [String], _ input: String) async throws(KernelError) -> String
