// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: natfleet contributors

import AgentCore
import AgentDataplane
import AgentLink
import AgentNetlink
import ArgumentParser
import FleetAPI
import FleetModel
import Glibc

#if canImport(FoundationEssentials)
    import FoundationEssentials
#else
    import Foundation
#endif

enum OutputFormat: String, CaseIterable, ExpressibleByArgument {
    case table
    case json
}

struct Status: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "What runs on this instance, since when, from which policy.",
        discussion: """
            Reads the kernel and the agent's state folder, with or without a running agent, and changes nothing. Beside a
            running agent it shows the conditions that this one reports too. Needs root to see rules and state. Exit status: 0 when the kernel holds what was confirmed, or nothing was applied
            yet; 1 otherwise.

            Examples: natfleet-agent status
                      natfleet-agent status -o json
            """)

    @Option(help: "The configuration file.")
    var config = Configuration.defaultFile

    @Option(name: .shortAndLong, help: "table or json.")
    var output = OutputFormat.table

    func run() async throws {
        let place = Place(config)
        let status = AgentStatus(await place.look(whole: false))
        switch output {
        case .json: printJSON(status)
        case .table:
            let rows = status.table
            let width = rows.map(\.what.count).max() ?? 0
            for (what, how) in rows {
                print(what + String(repeating: " ", count: width + 2 - what.count) + how)
            }
        }
        switch status.state {
        case .idle, .applied: break
        case .trying, .differs, .unknown: throw ExitCode(1)
        }
    }
}

struct Doctor: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Go through what NAT needs on this instance and say what is wrong.",
        discussion: """
            Routes of both families, router advertisements, forwarding, natfleet's rules with line numbers and counters,
            connection tracking, clients, what boots, the controller, the certificate, the clock; each ok, warn or bad,
            with what to do. Changes no rule and no setting. Where no agent runs, which would do it by itself, a client
            of its own is sent through the rules, by an interface that is there for some seconds.

            Exit status: 0 when nothing is bad, 1 when something is.

            Examples: natfleet-agent doctor
                      natfleet-agent doctor --no-probe -o json
            """)

    @Option(help: "The configuration file.")
    var config = Configuration.defaultFile

    @Option(name: .shortAndLong, help: "table or json.")
    var output = OutputFormat.table

    @Flag(inversion: .prefixedNo, help: "Send a client of its own through the rules where no agent runs.")
    var probe = true

    func run() async throws {
        let place = Place(config)
        async let reach = place.reach()
        var found = await place.look(whole: true)
        found.conntrack = conntrackUsage()
        found.isClockKept = isClockKept()
        if probe { found.findings = await place.probe(found) }
        found.reach = await reach
        let report = examine(found)
        switch output {
        case .json: printJSON(report)
        case .table: print(report.text(), terminator: "")
        }
        if report.verdict == .bad { throw ExitCode(1) }
    }
}

private func printJSON(_ value: some Encodable) {
    guard let data = try? WireJSON.encode(value, pretty: true) else { return }
    print(String(decoding: data, as: UTF8.self))
}
