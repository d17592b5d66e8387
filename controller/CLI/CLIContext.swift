// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: natfleet contributors

internal import FleetModel
package import Foundation

/// All that a verb needs of the world: what it reads, where it writes, what time it is, and a way to the controller.
package struct CLIContext: Sendable {
    package var environment: [String: String]
    /// Reads standard input to its end.
    package var readInput: @Sendable () throws -> Data
    /// Takes data for standard output, line ends included.
    package var output: @Sendable (String) -> Void
    /// Takes messages for standard error, line ends included.
    package var errors: @Sendable (String) -> Void
    /// Standard output is a terminal, so that colour can be of use.
    package var isTerminal: Bool
    /// How many lines the terminal has now; nil where that is not known.
    package var height: @Sendable () -> Int?
    /// Ages are relative to it.
    package var now: Date
    /// Tells the time to verbs that go on; `now` is when the verb began.
    package var clock: @Sendable () -> Date
    /// Waits; throws `CancellationError` when the wait is to be the last.
    package var sleep: @Sendable (Duration) async throws -> Void
    package var connect: @Sendable (ClientConfiguration) -> any FleetClient

    package init(
        environment: [String: String],
        readInput: @escaping @Sendable () throws -> Data,
        output: @escaping @Sendable (String) -> Void,
        errors: @escaping @Sendable (String) -> Void,
        isTerminal: Bool,
        height: @escaping @Sendable () -> Int? = { nil },
        now: Date,
        clock: @escaping @Sendable () -> Date = { Date() },
        sleep: @escaping @Sendable (Duration) async throws -> Void = { try await Task.sleep(for: $0) },
        connect: @escaping @Sendable (ClientConfiguration) -> any FleetClient
    ) {
        self.environment = environment
        self.readInput = readInput
        self.output = output
        self.errors = errors
        self.isTerminal = isTerminal
        self.height = height
        self.now = now
        self.clock = clock
        self.sleep = sleep
        self.connect = connect
    }

    /// The context of this process.
    package static var process: CLIContext {
        CLIContext(
            environment: ProcessInfo.processInfo.environment,
            readInput: { try FileHandle.standardInput.readToEnd() ?? Data() },
            output: { FileHandle.standardOutput.write(Data($0.utf8)) },
            errors: { FileHandle.standardError.write(Data($0.utf8)) },
            isTerminal: isatty(STDOUT_FILENO) == 1,
            height: {
                var size = winsize()
                return ioctl(STDOUT_FILENO, UInt(TIOCGWINSZ), &size) == 0 && size.ws_row > 0 ? Int(size.ws_row) : nil
            },
            now: Date(),
            connect: { RemoteFleet($0) }
        )
    }

    /// https://no-color.org: any value that is not empty.
    var usesColour: Bool { isTerminal && environment["NO_COLOR", default: ""].isEmpty }

    /// The controller that the configuration names.
    func fleet(_ options: ConnectionOptions) throws -> any FleetClient {
        connect(try configuration(options))
    }

    func configuration(_ options: ConnectionOptions) throws -> ClientConfiguration {
        try ClientConfiguration.load(named: options.config, environment: environment)
    }

    /// One line of advice or warning on standard error.
    package func note(_ text: String) { errors(printable(text) + "\n") }
}
