// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: natfleet contributors

import Foundation
import TestSupport
import Testing

/// A lab (Tests/Lab) of one test: a VPC of network namespaces with real programs on its hosts.
///
/// Everything of it lives below one process that ends when its standard input does, so that a test that fails, crashes or
/// is killed leaves nothing behind.
final class FleetLab: Sendable {
    static let root = URL(fileURLWithPath: #filePath)
        .deletingLastPathComponent().deletingLastPathComponent().deletingLastPathComponent()
    static let script = root.appendingPathComponent("Tests/Lab/lab").path
    /// Where `swift build` put the programs, beside the test bundle.
    static let binaries = URL(fileURLWithPath: CommandLine.arguments[0]).resolvingSymlinksInPath()
        .deletingLastPathComponent().path

    static var isAvailable: Bool {
        get async {
            guard geteuid() == 0 || KernelSuite.isRequired else { return false }
            return await KernelSuite.canRun(["/usr/sbin/iptables", "/usr/sbin/radvd", "/usr/bin/socat"])
        }
    }

    let name: String
    private let keeper: Daemon

    private init(name: String, keeper: Daemon) {
        self.name = name
        self.keeper = keeper
    }

    /// Makes a lab, runs `body`, takes the lab down whatever happens.
    static func run(_ body: (FleetLab) async throws -> Void) async throws {
        let name = "test-\(getpid())-\(UInt32.random(in: 0 ... .max))"
        let keeper = try Daemon(script, ["up", name, "--hold"])
        do {
            try await eventually(within: 30, "the lab is up: \(keeper.output)") { keeper.output.contains("ready") }
            let lab = FleetLab(name: name, keeper: keeper)
            // Where a test does not say which.
            if let word = ProcessInfo.processInfo.environment["NATFLEET_BACKEND"] {
                let backEnd = try #require(BackEnd(rawValue: word), "NATFLEET_BACKEND is nft or legacy")
                for host in ["nat-a", "nat-b", "nat-c"] { try await lab.use(backEnd, on: host) }
            }
            try await body(lab)
        } catch {
            await keeper.endInput()
            throw error
        }
        await keeper.endInput()
    }

    /// Runs a program on a host.
    @discardableResult
    func exec(_ host: String, _ arguments: String..., input: String = "") async throws -> ProgramResult {
        try await runProgram(Self.script, ["exec", name, host, "--"] + arguments, input: input)
    }

    /// Runs a line of shell on a host; its output, or a test failure.
    @discardableResult
    func shell(_ host: String, _ line: String) async throws -> String {
        let result = try await exec(host, "bash", "-ec", line)
        #expect(result.succeeded, "\(host): \(line): \(result.errors)")
        return result.output
    }

    /// One connection, datagram or ping: what the server says it saw; empty when nothing came back within `seconds`.
    /// A datagram that is expected to be answered may be lost on a busy machine: use `askAgain` for it.
    func ask(
        _ host: String, _ kind: String, _ address: String, _ port: Int? = nil, seconds: Int = 2
    ) async throws -> String {
        let place = [address] + (port.map { ["\($0)"] } ?? []) + ["\(seconds)"]
        let result = try await runProgram(Self.script, ["ask", name, host, kind] + place)
        return String(result.output.drop(while: \.isNewline).prefix { !$0.isNewline })
    }

    /// Up to three datagrams or pings, as a resolver would.
    func askAgain(_ host: String, _ kind: String, _ address: String, _ port: Int? = nil) async throws -> String {
        for _ in 0..<2 {
            let answer = try await ask(host, kind, address, port)
            if !answer.isEmpty { return answer }
        }
        return try await ask(host, kind, address, port)
    }

    /// Packets with a private source and an outside destination that left an instance, by family.
    func leaks(_ instance: String) async throws -> String {
        try await runProgram(Self.script, ["leaks", name, instance]).output
            .trimmingCharacters(in: .whitespacesAndNewlines)
    }

    /// Both counters of an instance whose nat was flushed move. One datagram may be lost on a busy machine, or its second be
    /// over before it is sent: hence more than one.
    func expectLeaks(_ instance: String, _ client: String) async throws {
        try await eventually(within: 20, "the leak counters of \(instance) move") {
            for address in ["198.51.100.7", "2001:db8:ffff::7"] {
                _ = try await ask(client, "udp", address, 53, seconds: 1)
            }
            let moved = try await leaks(instance)
            return !moved.contains("ipv4=0") && !moved.contains("ipv6=0")
        }
    }

    func daemon(_ host: String, _ arguments: [String]) throws -> Daemon {
        try Daemon(Self.script, ["exec", name, host, "--"] + arguments)
    }
}

/// Waits until something holds; a test failure that names it when it does not.
func eventually(
    within seconds: Double, _ what: @autoclosure () -> String, sourceLocation: SourceLocation = #_sourceLocation,
    _ holds: () async throws -> Bool
) async throws {
    let deadline = ContinuousClock.now + .seconds(seconds)
    while ContinuousClock.now < deadline {
        if try await holds() { return }
        try await Task.sleep(for: .milliseconds(50))
    }
    Issue.record("not within \(seconds) s: \(what())", sourceLocation: sourceLocation)
    throw GaveUp()
}

struct GaveUp: Error {}
