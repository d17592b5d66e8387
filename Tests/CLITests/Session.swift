// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: natfleet contributors

import ControllerCLI
import Foundation
import Synchronization
import TestSupport
import Testing

@testable import ControllerMain

/// Runs a transcript against a controller of its own.
final class Session: Sendable {
    private let controller: RealController
    private let agents = Mutex<[String: RealAgent]>([:])
    private let lastSecret = Mutex("")

    private init(_ controller: RealController) { self.controller = controller }

    /// - Returns: the transcript with what came of each of its commands now.
    static func play(_ name: String) async throws -> String {
        let transcript = try Transcript.recorded(name)
        return try await RealController.with { controller in try await Session(controller).play(transcript) }
    }

    private func play(_ transcript: Transcript) async throws -> String {
        var text = ""
        for step in transcript.steps {
            switch step {
            case .remark(let line): text += "\(line)\n"
            case .file(let name, let content):
                try controller.folder.write(content, to: name)
                text += "@ file \(name)\n" + marked(">", content)
            case .event(let words):
                text += "@ \(words.joined(separator: " "))\n"
                try await happen(words)
            case .command(let command):
                let run = try await run(command)
                text += "$ \(command.line)\n" + command.waits.map { "~ \($0.joined(separator: " "))\n" }.joined()
                text += marked("|", run.output) + marked("!", run.errors) + "= \(run.code)\n"
            }
        }
        return text
    }

    private func happen(_ words: [String]) async throws {
        let name = words.count > 1 ? words[1] : ""
        switch words.first {
        case "after": _ = try await play(try Transcript.recorded(name))
        case "lose": try FileManager.default.removeItem(atPath: "\(controller.folder.path)/\(name)")
        case "later": controller.clock.advance(try #require(TimeInterval(name)))
        case "enrol":
            let agent = try await RealAgent(name, of: controller, token: lastSecret.withLock { $0 })
            agents.withLock { $0[name] = agent }
        case "reports": try await agent(name).reports()
        case "applies": try await agent(name).applies()
        case "refuses": try await agent(name).refuses(words.dropFirst(2).joined(separator: " "))
        case "reverts": try await agent(name).reverts(words.dropFirst(2).joined(separator: " "))
        case "run": _ = try await run(Transcript.Command(line: words.dropFirst().joined(separator: " ")))
        default: Issue.record("nothing known happens by '\(words.joined(separator: " "))'")
        }
    }

    private func agent(_ name: String) throws -> RealAgent { try #require(agents.withLock { $0[name] }) }

    // MARK: Commands

    private func run(_ command: Transcript.Command) async throws -> CommandRun {
        var run = CommandRun(code: 0, output: "", errors: "")
        for stage in command.stages {
            let input = try stage.input.map { try String(contentsOfFile: path($0), encoding: .utf8) } ?? run.output
            let words = stage.arguments.map { $0.replacing("DIR", with: controller.folder.path) }
            let arguments = Array(words.dropFirst())
            let result =
                words.first != "natfleet" || arguments.first == "serve"
                ? try await program(words) : try await verb(arguments, input: input, waits: command.waits)
            run = CommandRun(code: result.code, output: result.output, errors: run.errors + result.errors)
            if let secret = run.output.firstMatch(of: /nfj_[0-9a-f]+/) {
                lastSecret.withLock { $0 = String(secret.output) }
            }
            guard let file = stage.output else { continue }
            try controller.folder.write(run.output, to: String(file.trimmingPrefix("DIR/")))
            run.output = ""
        }
        return CommandRun(code: run.code, output: plain(run.output), errors: plain(run.errors))
    }

    private func path(_ file: String) -> String { file.replacing("DIR", with: controller.folder.path) }

    /// By the entry of the executable, in this process.
    private func verb(_ arguments: [String], input: String, waits: [[String]]) async throws -> CommandRun {
        let (output, errors) = (Sink(), Sink())
        let waited = Mutex(0)
        let context = CLIContext(
            environment: ["NATFLEET_CONFIG": "\(controller.folder.path)/admin.yaml"],
            readInput: { Data(input.utf8) },
            output: { output.append($0) },
            errors: { errors.append($0) },
            isTerminal: false,
            now: controller.clock.now,
            clock: { [clock = controller.clock] in clock.now },
            sleep: { _ in
                let number = waited.withLock { count in
                    count += 1
                    return count
                }
                guard number <= waits.count else { throw CancellationError() }
                try await self.happen(waits[number - 1])
            },
            connect: { RemoteFleet($0) })
        let code = await runCLI(Natfleet.self, arguments, context)
        return CommandRun(code: code, output: output.text, errors: errors.text)
    }

    /// An executable itself; one that goes on gets SIGTERM as soon as it listens.
    private func program(_ words: [String]) async throws -> CommandRun {
        let folder = URL(filePath: CommandLine.arguments[0]).resolvingSymlinksInPath().deletingLastPathComponent()
        let script = """
            log=$1; shift
            "$@" 2> "$log" & pid=$!
            for i in $(seq 600); do
                grep -q 'listening on' "$log" && break
                kill -0 $pid 2> /dev/null || break
                sleep 0.05
            done
            kill -TERM $pid 2> /dev/null
            wait $pid; code=$?
            cat "$log" >&2
            exit $code
            """
        let result = try await runProgram(
            "/bin/bash",
            ["-c", script, "run", "\(controller.folder.path)/log", folder.appending(path: words[0]).path()]
                + words.dropFirst())
        let errors = result.errors
            .replacing(/[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9:]{8}[+-][0-9]{4}/, with: "TIME")
            .replacing(/[0-9a-f]{64}/, with: "CA-HASH")
            .replacing(/(?<host>127\.0\.0\.1|0\.0\.0\.0|\[::\]):[0-9]{5}/) { "\($0.output.host):8443" }
        return CommandRun(code: Int32(result.status), output: result.output, errors: errors)
    }

    // MARK: Text

    /// What differs from run to run, by its name.
    private func plain(_ text: String) -> String {
        text.replacing(controller.folder.path, with: "DIR")
            .replacing("127.0.0.1:\(controller.port)", with: "127.0.0.1:8443")
            .replacing("127.0.0.2:\(controller.port)", with: "127.0.0.2:8443")
            .replacing("127.0.0.1:\(controller.cutter.port)", with: "127.0.0.1:8444")
            .replacing(controller.caHash, with: "CA-HASH")
            // What follows is curl's, and in the words of its version.
            .replacing(/(?<ours>no answer from https:[^ ]+:|trusts:|broke before it was secure:) .+/) {
                "\($0.output.ours) CURL'S WORDS"
            }
    }

    private func marked(_ mark: String, _ text: String) -> String {
        guard !text.isEmpty else { return "" }
        let lines = text.split(separator: "\n", omittingEmptySubsequences: false)
        let last = lines.last == "" ? "" : "\(mark) \(lines.last ?? "") (and no end of line)\n"
        return lines.dropLast().map { $0.isEmpty ? "\(mark)\n" : "\(mark) \($0)\n" }.joined() + last
    }
}
