// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: natfleet contributors

import AgentCore
import Testing

@testable import AgentDataplane

struct CommandRunnerTests {
    private let runner = CommandRunner(timeout: .seconds(20))

    @Test func handsTheInputOver() async throws {
        #expect(try await runner.run("cat", [], input: "one\ntwo\n") == "one\ntwo\n")
        #expect(try await runner.run("cat", []) == "")
    }

    /// More than a pipe holds, to a program that reads none of it.
    @Test func survivesAProgramThatDoesNotRead() async throws {
        let long = String(repeating: "-A NATFLEET-PRE -j ACCEPT\n", count: 100_000)
        let error = await #expect(throws: KernelError.self) { try await runner.run("false", [], input: long) }
        #expect(error?.description == "false: exit status 1: no message")
        #expect(try await runner.run("cat", [], input: long).utf8.count == long.utf8.count)
    }

    @Test func namesWhatIsMissingOrTooSlow() async throws {
        let missing = await #expect(throws: KernelError.self) { try await runner.run("no-such-program", []) }
        #expect(missing?.description.contains("no-such-program is not installed") == true)
        let slow = await #expect(throws: KernelError.self) {
            try await CommandRunner(timeout: .milliseconds(200)).run("sleep", ["30"])
        }
        #expect(slow?.description.contains("no end after") == true)
    }
}
