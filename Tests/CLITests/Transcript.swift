// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: natfleet contributors

import Foundation

/// A session of an operator, as `Golden/NAME.txt` records it: command lines, and exactly what came of each.
///
/// | line | meaning |
/// |---|---|
/// | `$ natfleet …` | a command line, with quotes, `< FILE`, `> FILE` and pipes as in a shell |
/// | `\| …`, `! …`, `= N` | what it wrote to standard output and to standard error, and its exit code |
/// | `~ …` | what happens in one wait of the `--watch` above it; the wait after the last one ends it |
/// | `@ file NAME` | a file, whose lines follow as `> …` |
/// | `@ after NAME` | all of another session first |
/// | `@ lose NAME` | a file or a folder is gone |
/// | `@ later SECONDS` | the clock moves |
/// | `@ enrol ID` | a machine enrols, with the join token that was made last |
/// | `@ reports ID`, `@ applies ID`, `@ refuses ID WHY`, `@ reverts ID WHY` | what it checks in with |
///
/// Anything else is a remark. `DIR` is the folder of the session.
struct Transcript: Sendable {
    enum Step: Sendable {
        case remark(String)
        case command(Command)
        case file(name: String, text: String)
        case event([String])
    }

    struct Command: Sendable {
        var line: String
        /// What happens in the waits of a watch.
        var waits: [[String]] = []
        /// As recorded.
        var output: [String] = []
        var code: Int32?
    }

    var steps: [Step] = []

    var commands: [Command] { steps.compactMap { if case .command(let command) = $0 { command } else { nil } } }

    /// Of all sessions.
    static let names = [
        "fleet", "lists", "policies", "instances", "cordon", "tokens", "offline", "programs", "refusals",
    ]

    static func recorded(_ name: String) throws -> Transcript {
        let file = URL(filePath: #filePath).deletingLastPathComponent().appending(path: "Golden/\(name).txt")
        return Transcript(try String(contentsOf: file, encoding: .utf8))
    }

    init(_ text: String) {
        for line in text.split(separator: "\n", omittingEmptySubsequences: false).dropLast().map(String.init) {
            let words = line.split(separator: " ").map(String.init)
            switch (words.first, steps.last) {
            case ("$", _): steps.append(.command(Command(line: String(line.dropFirst(2)))))
            case ("@", _) where words.dropFirst().first == "file":
                steps.append(.file(name: words.last ?? "", text: ""))
            case ("@", _): steps.append(.event(Array(words.dropFirst())))
            case (">", .file(let name, let text)):
                steps[steps.count - 1] = .file(name: name, text: "\(text)\(line.dropFirst(2))\n")
            case (let mark?, .command(var command)) where ["|", "!", "=", "~"].contains(mark):
                switch mark {
                case "~": command.waits.append(Array(words.dropFirst()))
                case "=": command.code = words.last.flatMap { Int32($0) }
                default: command.output.append(line)
                }
                steps[steps.count - 1] = .command(command)
            default: steps.append(.remark(line))
            }
        }
    }
}

extension Transcript.Command {
    /// One program of a pipe: its arguments, and the files of its streams.
    struct Stage: Sendable {
        var arguments: [String] = []
        var input: String?
        var output: String?
    }

    var stages: [Stage] {
        var stages = [Stage()]
        var target: WritableKeyPath<Stage, String?>?
        for (word, isQuoted) in words {
            let last = stages.count - 1
            if let file = target {
                stages[last][keyPath: file] = word
                target = nil
            } else if isQuoted {
                stages[last].arguments.append(word)
            } else {
                switch word {
                case "|": stages.append(Stage())
                case "<": target = \.input
                case ">": target = \.output
                default: stages[last].arguments.append(word)
                }
            }
        }
        return stages
    }

    private var words: [(text: String, isQuoted: Bool)] {
        var words: [(text: String, isQuoted: Bool)] = []
        var current: (text: String, isQuoted: Bool)?
        var quote: Character?
        for character in line {
            switch (character, quote) {
            case ("'", nil), ("\"", nil):
                quote = character
                current = (current?.text ?? "", true)
            case (_, character): quote = nil
            case (" ", nil):
                if let word = current { words.append(word) }
                current = nil
            default: current = ((current?.text ?? "") + String(character), current?.isQuoted ?? false)
            }
        }
        return words + [current].compactMap(\.self)
    }
}
