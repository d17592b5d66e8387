// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: natfleet contributors

import ArgumentParser
import Foundation

@testable import ControllerMain

/// The verbs of the executable, as ArgumentParser tells them.
struct CommandTree {
    struct Argument: Decodable {
        struct Name: Decodable {
            let kind: String
            let name: String

            var spelled: String { kind == "long" ? "--\(name)" : "-\(name)" }
        }

        let kind: String
        let names: [Name]?
        let valueName: String?
        let allValues: [String]?
        let defaultValue: String?

        var isPositional: Bool { kind == "positional" }
        var spellings: [String] { (names ?? []).map(\.spelled) }
    }

    struct Verb {
        /// `["token", "create"]`
        let path: [String]
        let arguments: [Argument]

        var asksTheController: Bool { arguments.contains { $0.spellings.contains("--config") } }
    }

    let verbs: [Verb]

    init() throws {
        struct Command: Decodable {
            let commandName: String
            let arguments: [Argument]?
            let subcommands: [Command]?
        }
        struct Dump: Decodable { let command: Command }
        let dump = try JSONDecoder().decode(Dump.self, from: Data(Natfleet._dumpHelp().utf8))
        func verbs(_ command: Command, _ path: [String]) -> [Verb] {
            guard let commands = command.subcommands, !commands.isEmpty else {
                let arguments = (command.arguments ?? []).filter { !["help", "version"].contains($0.valueName) }
                return [Verb(path: path, arguments: arguments)]
            }
            return commands.filter { $0.commandName != "help" }.flatMap { verbs($0, path + [$0.commandName]) }
        }
        self.verbs = verbs(dump.command, [])
    }
}

/// One command line of a transcript, and how it ended.
struct CommandRow {
    let words: [String]
    let code: Int32

    init(_ arguments: [String], code: Int32) {
        words = arguments.first == "--config" ? Array(arguments.dropFirst(2)) : arguments
        self.code = code
    }

    func isOf(_ verb: CommandTree.Verb) -> Bool { words.starts(with: verb.path) }

    func names(_ argument: CommandTree.Argument) -> Bool {
        words.contains { word in argument.spellings.contains { word == $0 || word.hasPrefix("\($0)=") } }
    }

    /// Which of the values that an argument can have it has here.
    func value(_ argument: CommandTree.Argument, of verb: CommandTree.Verb) -> String? {
        if argument.isPositional {
            // Kinds and shells: each begins with a letter of its own, however it is shortened.
            let word = words.dropFirst(verb.path.count).first
            return argument.allValues?.first { $0.first == word?.first }
        }
        guard let index = words.firstIndex(where: argument.spellings.contains) else { return argument.defaultValue }
        return words.dropFirst(index + 1).first
    }
}

extension CommandTree {
    /// What no row shows: options, values of options by kind, exit codes.
    func missing(in rows: [CommandRow]) -> [String] {
        verbs.flatMap { verb in
            verb.missing(in: rows.filter { $0.isOf(verb) }).map { (verb.path + [$0]).joined(separator: " ") }
        }
    }
}

extension CommandTree.Verb {
    /// - Parameter rows: those of this verb.
    fileprivate func missing(in rows: [CommandRow]) -> [String] {
        let good = rows.filter { [0, 1].contains($0.code) }
        guard !good.isEmpty else { return ["at all"] }
        let codes = codes.filter { code in !rows.contains { $0.code == code } }
        return unnamed(in: rows) + unshown(in: good) + codes.map { "exit code \($0)" }
    }

    private func unnamed(in rows: [CommandRow]) -> [String] {
        arguments.filter { argument in !argument.isPositional && !rows.contains { $0.names(argument) } }
            .map { $0.spellings.last ?? "" }
    }

    /// Values that arguments can have: of a kind and a format, each with each.
    private func unshown(in rows: [CommandRow]) -> [String] {
        let kind = arguments.first { $0.isPositional && $0.allValues != nil }
        let shownKinds = rows.map { row in kind.flatMap { row.value($0, of: self) } }
        var unshown: [String] = []
        for value in kind?.allValues ?? [] where !shownKinds.contains(value) { unshown.append(value) }
        for option in arguments where !option.isPositional {
            let shown = Set(zip(shownKinds, rows).map { [$0 ?? "", $1.value(option, of: self) ?? ""] })
            for value in option.allValues ?? [] {
                for kind in kind?.allValues ?? [""] where !shown.contains([kind, value]) {
                    unshown.append(
                        [kind, option.spellings.last ?? "", value].filter { !$0.isEmpty }.joined(separator: " "))
                }
            }
        }
        return unshown
    }

    /// Ways to fail that each verb of its sort has.
    private var codes: [Int32] {
        guard asksTheController else { return [2] }
        return arguments.contains { $0.isPositional && $0.allValues == nil } ? [2, 3, 5, 6] : [2, 5, 6]
    }
}
