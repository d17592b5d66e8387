// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: natfleet contributors

import ControllerCLI
import Foundation
import Synchronization

@testable import ControllerMain

/// What an operator sees of one command line.
struct CommandRun: Equatable {
    var code: Int32
    var output: String
    var errors: String
}

/// The moment at which all tests of this target happen.
let now = Date(timeIntervalSince1970: 1_767_323_045)

func ago(_ seconds: Double) -> Date { now.addingTimeInterval(-seconds) }

/// Runs `natfleet ARGUMENTS` against `fleet`, with a valid client configuration unless `environment` says otherwise.
func natfleet(
    _ arguments: [String],
    _ fleet: any FleetClient = FakeFleet(),
    input: String = "",
    isTerminal: Bool = false,
    environment: [String: String]? = nil,
    height: Int? = nil,
    sleep: @escaping @Sendable (Duration) async throws -> Void = { _ in throw CancellationError() },
    connect: @escaping @Sendable (ClientConfiguration) -> Void = { _ in }
) async throws -> CommandRun {
    let folder = try TemporaryFolder()
    let configuration = try folder.write(clientConfiguration, to: "config.yaml")
    let (output, errors) = (Sink(), Sink())
    let context = CLIContext(
        environment: environment ?? ["NATFLEET_CONFIG": configuration],
        readInput: { Data(input.utf8) },
        output: { output.append($0) },
        errors: { errors.append($0) },
        isTerminal: isTerminal,
        height: { height },
        now: now,
        clock: { now },
        sleep: sleep,
        connect: { configuration in
            connect(configuration)
            return fleet
        }
    )
    let code = await runCLI(Natfleet.self, arguments, context)
    return CommandRun(code: code, output: output.text, errors: errors.text)
}

/// The same, as an operator would write it; words are split at blanks.
func natfleet(_ line: String, _ fleet: any FleetClient = FakeFleet(), input: String = "") async throws -> CommandRun {
    try await natfleet(line.split(separator: " ").map(String.init), fleet, input: input)
}

let clientConfiguration = """
    server: https://controller.example:8443/
    ca: |
      -----BEGIN CERTIFICATE-----
      AAAA
      -----END CERTIFICATE-----
    token: nfo_secret
    """

/// A folder of its own, gone with the last reference.
final class TemporaryFolder: Sendable {
    let path: String

    init() throws {
        path = FileManager.default.temporaryDirectory.appending(path: "natfleet-cli-\(UUID().uuidString)").path()
        try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
    }

    deinit { try? FileManager.default.removeItem(atPath: path) }

    /// - Returns: the path of the file.
    @discardableResult
    func write(_ text: String, to file: String) throws -> String {
        let path = "\(path)/\(file)"
        try FileManager.default.createDirectory(
            atPath: URL(filePath: path).deletingLastPathComponent().path(), withIntermediateDirectories: true)
        try Data(text.utf8).write(to: URL(filePath: path))
        return path
    }
}

final class Sink: Sendable {
    private let content = Mutex("")

    var text: String { content.withLock { $0 } }

    func append(_ text: String) { content.withLock { $0 += text } }
}
