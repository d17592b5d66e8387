// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: natfleet contributors

import AgentCore
import Foundation
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

    /// Init scripts start others; what holds a lock or a pipe must not outlive them.
    @Test func endsWhatATooSlowProgramHasStarted() async throws {
        let file = FileManager.default.temporaryDirectory.appending(path: "natfleet-pid-\(UUID().uuidString)").path()
        defer { try? FileManager.default.removeItem(atPath: file) }
        await #expect(throws: KernelError.self) {
            let script = "sleep 30 & echo $! >\(file); wait"
            return try await CommandRunner(timeout: .seconds(2)).run("sh", ["-c", script])
        }
        let text = String(decoding: FileManager.default.contents(atPath: file) ?? Data(), as: UTF8.self)
        let child = try #require(pid_t(text.split(separator: "\n").first ?? ""))
        for _ in 0..<100 where isRunning(child) { try await Task.sleep(for: .milliseconds(50)) }
        #expect(!isRunning(child))
    }

    private func isRunning(_ process: pid_t) -> Bool {
        // An orphan stays a zombie where nobody reaps it.
        let stat = FileManager.default.contents(atPath: "/proc/\(process)/stat") ?? Data()
        let words = String(decoding: stat, as: UTF8.self).split(separator: " ")
        return words.count > 2 && words[2] != "Z"
    }
}
