// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: natfleet contributors

import ArgumentParser
import Foundation
import TestSupport
import Testing

@testable import ControllerMain

/// The whole command line against a real controller: exactly what was recorded. RECORD=1 records what is printed now.
/// One after the other: parsing a command line of a debug build takes ArgumentParser long, and other suites keep time.
@Suite(.serialized) struct TranscriptTests {
    @Test(arguments: Transcript.names) func isAsRecorded(_ name: String) async throws {
        let difference = try goldenDifference(try await Session.play(name), "\(name).txt")
        #expect(difference.isEmpty, "\(difference.joined(separator: "\n"))")
    }

    private static func rows() throws -> [CommandRow] {
        try Transcript.names.flatMap { try Transcript.recorded($0).commands }.flatMap { command in
            command.stages.filter { $0.arguments.first == "natfleet" }.map {
                CommandRow(Array($0.arguments.dropFirst()), code: command.code ?? -1)
            }
        }
    }

    @Test func everyVerbOptionFormatAndExitCodeIsInATranscript() throws {
        let missing = try CommandTree().missing(in: try Self.rows())
        #expect(missing.isEmpty, "no transcript shows:\n\(missing.joined(separator: "\n"))")
    }

    @Test(arguments: [
        ("version", "-o", "json", "version --output json"), ("get", "events", "wide", "get events --output wide"),
        ("completions", "fish", "fish", "completions fish"),
        ("token", "create", "user-data", "token create --output user-data"),
        ("backup", "--data", "--to", "backup at all"), ("token", "list", "DIR/nowhere.yaml", "token list exit code 6"),
    ])
    func aRowThatIsMissingIsFound(_ verb: String, _ first: String, _ second: String, _ missing: String) throws {
        let rows = try Self.rows().filter { row in
            !(row.words.first == verb && row.words.contains(first) && row.words.contains(second))
        }
        #expect(try CommandTree().missing(in: rows).contains(missing))
    }

    @Test func everyErrorSaysWhatToDo() throws {
        for command in try Transcript.names.flatMap({ try Transcript.recorded($0).commands }) {
            for (line, next) in zip(command.output, command.output.dropFirst() + [""]) where line.hasPrefix("! error: ")
            {
                #expect(next.hasPrefix("!   fix: "), "\(command.line)\n\(line)")
            }
            let failed = command.code.map { ![0, 1].contains($0) } ?? false
            #expect(!failed || command.output.contains { $0.contains("fix: ") }, "\(command.line)")
        }
    }

    @Test(arguments: ["bash", "zsh", "fish"]) func completionsAreOfTheExecutable(_ name: String) async throws {
        let shell = try #require(CompletionShell(rawValue: name))
        let run = try await natfleet(["completions", name])
        #expect(run == CommandRun(code: 0, output: Natfleet.completionScript(for: shell) + "\n", errors: ""))
        #expect(["serve", "backup", "cordon", "expect-revision", "user-data"].allSatisfy(run.output.contains))
    }

    @Test func everyTranscriptIsPlayed() throws {
        let folder = URL(filePath: #filePath).deletingLastPathComponent().appending(path: "Golden")
        let files = try FileManager.default.contentsOfDirectory(atPath: folder.path())
        #expect(Set(files) == Set(Transcript.names.map { "\($0).txt" }))
    }
}
