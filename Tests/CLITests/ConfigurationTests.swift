// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: natfleet contributors

import ControllerCLI
import Foundation
import Synchronization
import Testing

struct ConfigurationTests {
    private static let wayOut = """
          fix: copy admin.yaml from the controller's data folder to ~/.config/natfleet/config.yaml, or name it with \
        --config or NATFLEET_CONFIG

        """

    @Test(arguments: [
        ("--config", "option"), ("NATFLEET_CONFIG", "variable"), ("HOME", "home"),
    ])
    func findsItsConfigurationInOrder(_ source: String, _ expected: String) async throws {
        let folder = try TemporaryFolder()
        func file(_ name: String, _ path: String) throws -> String {
            try folder.write(clientConfiguration.replacing("nfo_secret", with: name), to: path)
        }
        let option = try file("option", "option.yaml")
        var environment = ["HOME": folder.path]
        _ = try file("home", ".config/natfleet/config.yaml")
        if source != "HOME" { environment["NATFLEET_CONFIG"] = try file("variable", "variable.yaml") }
        let used = Mutex<ClientConfiguration?>(nil)
        let run = try await withConfiguration(
            source == "--config" ? ["--config", option] : [], environment
        ) { configuration in used.withLock { $0 = configuration } }
        #expect(run.code == 0)
        #expect(used.withLock { $0?.token } == expected)
        #expect(used.withLock { $0?.server } == "https://controller.example:8443")
    }

    @Test func saysWhatToDoWithoutAny() async throws {
        let folder = try TemporaryFolder()
        for (environment, message) in [
            (["HOME": folder.path], "no client configuration at \(folder.path)/.config/natfleet/config.yaml"),
            (["NATFLEET_CONFIG": "/none"], "no client configuration at /none"),
            ([:], "no client configuration: HOME is not set"),
        ] {
            let run = try await natfleet(["get", "instances"], environment: environment)
            #expect(run == CommandRun(code: 2, output: "", errors: "error: \(message)\n\(Self.wayOut)"))
        }
    }

    struct Bad: Sendable, CustomTestStringConvertible {
        var text: String
        var message: String

        var testDescription: String { message }
    }

    @Test(arguments: [
        Bad(text: "", message: "FILE is not a client configuration: it is empty or no mapping"),
        Bad(text: "just words", message: "FILE is not a client configuration: it is empty or no mapping"),
        Bad(
            text: clientConfiguration.replacing("token: nfo_secret", with: ""),
            message: "FILE is not a client configuration: token is missing"),
        Bad(
            text: clientConfiguration.replacing("nfo_secret", with: "[a]"),
            message: "FILE is not a client configuration: token has a wrong value"),
        Bad(
            text: clientConfiguration.replacing("https:", with: "http:"),
            message: "server 'http://controller.example:8443/' in FILE is not an https URL"),
        Bad(text: clientConfiguration.replacing("BEGIN", with: "END"), message: "ca in FILE holds no PEM certificate"),
        Bad(text: clientConfiguration.replacing("nfo_secret", with: "a b"), message: "token in FILE is not a token"),
        Bad(text: clientConfiguration.replacing("nfo_secret", with: "\"\""), message: "token in FILE is not a token"),
    ])
    func saysWhatIsWrongWithIt(_ example: Bad) async throws {
        let folder = try TemporaryFolder()
        let path = try folder.write(example.text, to: "bad.yaml")
        let run = try await natfleet(["get", "instances", "--config", path])
        #expect(run.code == 2)
        #expect(run.output == "")
        #expect(
            run.errors.hasPrefix("error: \(example.message.replacing("FILE", with: path))\n  fix: "), "\(run.errors)")
    }

    @Test func saysWhereItIsNotYAML() async throws {
        let folder = try TemporaryFolder()
        let path = try folder.write("server: [", to: "bad.yaml")
        let run = try await natfleet(["get", "instances", "--config", path])
        #expect(run.code == 2)
        #expect(run.errors.hasPrefix("error: \(path) is not a client configuration: it is not YAML: "), "\(run.errors)")
    }

    private func withConfiguration(
        _ options: [String], _ environment: [String: String], _ use: @escaping @Sendable (ClientConfiguration) -> Void
    ) async throws -> CommandRun {
        try await natfleet(["get", "instances"] + options, environment: environment, connect: use)
    }
}
