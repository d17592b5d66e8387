// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: natfleet contributors

import FleetAPI
import FleetModel
import Foundation
import TestSupport
import Testing

/// The controller and the agents of a lab, started as an operator would.
extension FleetLab {
    static let controllerURL = "https://10.0.0.5:8443"
    static let data = "/var/lib/natfleet"
    static let configuration = data + "/admin.yaml"

    func startController(data: String = FleetLab.data) async throws -> Daemon {
        let controller = try daemon(
            "controller",
            [
                Self.binaries + "/natfleet", "serve", "--data", data, "--listen", "10.0.0.5:8443", "--advertise",
                "controller",
            ])
        try await eventually(within: 20, "the controller listens: \(controller.output)") {
            controller.output.contains("listening on https://")
        }
        return controller
    }

    /// The command line on the controller's host.
    @discardableResult
    func natfleet(_ arguments: String..., input: String = "") async throws -> ProgramResult {
        try await natfleet(arguments, input: input)
    }

    private func natfleet(_ arguments: [String], input: String = "") async throws -> ProgramResult {
        try await runProgram(
            Self.script,
            [
                "exec", name, "controller", "--", "env", "NATFLEET_CONFIG=\(Self.configuration)",
                Self.binaries + "/natfleet",
            ]
                + arguments, input: input)
    }

    /// Applies documents; a test failure when they are refused.
    func apply(_ documents: String) async throws {
        let result = try await natfleet("apply", "-f", "-", input: documents)
        #expect(result.succeeded, "\(result.errors)")
    }

    /// The secret of a new join token.
    func joinToken(_ arguments: String...) async throws -> String {
        try #require(try await createToken(arguments).secret)
    }

    func createToken(_ arguments: [String]) async throws -> TokenView {
        let result = try await natfleet(["token", "create", "-o", "json"] + arguments)
        return try WireJSON.decode(TokenView.self, from: Data(result.output.utf8))
    }

    func caHash() async throws -> String {
        let line = "openssl x509 -in \(Self.data)/pki/ca.pem -outform DER | sha256sum | cut -c1-64"
        return try await shell("controller", line).trimmingCharacters(in: .whitespacesAndNewlines)
    }

    func writeConfiguration(_ instance: String, token: String?, caHash: String? = nil, more: String = "") async throws {
        let hash = if let caHash { caHash } else { try await self.caHash() }
        let lines =
            ["NATFLEET_CONTROLLER=\(Self.controllerURL)", "NATFLEET_CA_HASH=\(hash)", more]
            + (token.map { ["NATFLEET_JOIN_TOKEN=\($0)"] } ?? [])
        try await exec(
            instance, "bash", "-ec", "mkdir -p /etc/natfleet; umask 077; cat >/etc/natfleet/agent.conf",
            input: lines.joined(separator: "\n") + "\n")
    }

    /// The agent as configured by `writeConfiguration`.
    func runAgent(_ instance: String) throws -> Daemon {
        try daemon(instance, [Self.binaries + "/natfleet-agent", "run"])
    }

    /// Enrols an instance by a token of its own and starts its agent.
    func startAgent(_ instance: String, more: String = "") async throws -> Daemon {
        let token = try await joinToken("--instance", instance, "--label", "vpc=demo")
        try await writeConfiguration(instance, token: token, more: more)
        let agent = try runAgent(instance)
        try await eventually(within: 20, "\(instance) checks in: \(agent.output)") {
            try await self.instance(instance)?.lastSeen != nil
        }
        return agent
    }

    /// With the operator's token, and not by the command line: tests ask many times a second, and its debug build takes most
    /// of a second of both processors to start.
    private static let get = """
        ca() { sed -n '/BEGIN CERT/,/END CERT/ { s/^ *//; p }' \(configuration); }
        token() { sed -n 's/^token: */Authorization: Bearer /p' \(configuration); }
        exec curl -sf --max-time 10 --cacert <(ca) -H @<(token) \(controllerURL)$1
        """

    func instances() async throws -> [Instance] {
        let result = try await exec("controller", "bash", "-c", Self.get, "get", "/v1/instances")
        guard result.succeeded else { return [] }
        return try WireJSON.decode([Instance].self, from: Data(result.output.utf8))
    }

    /// Without what is said of every host of the lab: none is run by systemd.
    func instance(_ id: String) async throws -> Instance? {
        var found = try await instances().first { $0.id == id }
        found?.status?.conditions.removeAll { $0.code == ConditionKind.notRestoredAtBoot.code }
        return found
    }

    /// Waits until instances run what they should, and say so.
    func converged(_ ids: String..., within seconds: Double = 30) async throws {
        for id in ids {
            var last: Instance?
            try await eventually(within: seconds, "\(id) runs what it should: \(String(describing: last?.status))") {
                last = try await instance(id)
                guard let last, let desired = last.desiredHash else { return false }
                return last.status?.runningHash == desired && last.health == .healthy
            }
        }
    }
}
