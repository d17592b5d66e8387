// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: natfleet contributors

import Foundation
import Testing

/// An agent that can be stopped before a step of a trial, so that its machine changes just then.
struct HeldAgent: Sendable {
    let daemon: Daemon
    private let lab: FleetLab
    private let host: String

    private static let file = "/run/stop-at"

    /// - Parameter settings: of a debug build, `NATFLEET_COMMAND_SECONDS=1`.
    init(_ host: String, _ lab: FleetLab, settings: [String] = []) throws {
        (self.host, self.lab) = (host, lab)
        let program = FleetLab.binaries + "/natfleet-agent"
        daemon = try lab.daemon(host, ["env", "NATFLEET_STOP_FILE=\(Self.file)"] + settings + [program, "run"])
    }

    /// Runs `meanwhile` with the agent stopped before `step` of what `start` begins.
    func hold(at step: String, start: () async throws -> Void, meanwhile: () async throws -> Void) async throws {
        try await lab.shell(host, "echo \(step) >\(Self.file)")
        try await start()
        var stopped: [Int32] = []
        try await eventually(within: 20, "the agent comes to \(step): \(daemon.output)") {
            stopped = daemon.chain(toStopped: "natfleet-agent")
            return !stopped.isEmpty
        }
        try await lab.shell(host, "rm \(Self.file)")
        try await meanwhile()
        // nsenter stops when what it runs does.
        for pid in stopped { kill(pid, SIGCONT) }
    }
}

extension Daemon {
    /// The processes that it started, down to one of this name, where that is stopped by a signal; else none.
    fileprivate func chain(toStopped name: String) -> [Int32] {
        var chain = [pid]
        while let child = try? String(contentsOfFile: "/proc/\(chain[0])/task/\(chain[0])/children", encoding: .utf8)
            .split(separator: " ").first.flatMap({ Int32($0) })
        {
            chain.insert(child, at: 0)
            let state = try? String(contentsOfFile: "/proc/\(child)/stat", encoding: .utf8)
            if state?.contains("(\(name)) T ") == true { return chain }
        }
        return []
    }
}
