// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: natfleet contributors

import FleetModel
import Foundation
import NATPolicy
import Testing

/// Exit codes, wrong usage and help.
struct UsageTests {
    @Test(
        arguments: [
            (.badRequest, 2), (.invalidPolicy, 2), (.methodNotAllowed, 2), (.bodyTooLarge, 2), (.unsupported, 2),
            (.notFound, 3), (.conflict, 4), (.layerConflict, 4), (.unauthorized, 5), (.forbidden, 5),
            (.unreachable, 6), (.unavailable, 6), (.timeout, 6), (.bodyTimeout, 6), (.internal, 70),
        ] as [(ErrorCode, Int32)])
    func exitsAsTheErrorSays(_ code: ErrorCode, _ status: Int32) async throws {
        let error = FleetError(code, "it went wrong", remedy: "do better")
        #expect(
            try await natfleet("get instances", FakeFleet(failing: error))
                == CommandRun(code: status, output: "", errors: "error: it went wrong\n  fix: do better\n"))
        // Of a program that says no more.
        let bare = FleetError(code, "it went wrong", remedy: nil)
        #expect(
            try await natfleet("get instances", FakeFleet(failing: bare))
                == CommandRun(
                    code: status, output: "",
                    errors: "error: it went wrong\n  fix: read what docs/errors.md says of \(code.rawValue)\n"))
    }

    @Test func everyErrorCodeIsInTheTable() { #expect(ErrorCode.allCases.count == 15) }

    @Test func exitsWithAFaultOfOurOwnOtherwise() async throws {
        struct Surprise: Error {}
        let run = try await natfleet("get instances", FakeFleet(failing: Surprise()))
        #expect(run.code == 70 && run.output.isEmpty)
        #expect(run.errors.hasPrefix("error: Surprise()\n  fix: report it as a fault of natfleet's own"))
    }

    struct Wrong: Sendable, CustomTestStringConvertible {
        var line: String
        var message: String
        var help: String

        var testDescription: String { line }
    }

    @Test(arguments: [
        Wrong(line: "frobnicate", message: "unexpected argument 'frobnicate'", help: "natfleet"),
        Wrong(line: "apply", message: "missing expected argument '--file <file> ...'", help: "natfleet apply"),
        Wrong(line: "apply -f x --qqqqqqqq", message: "unknown option '--qqqqqqqq'", help: "natfleet apply"),
        Wrong(
            line: "get things",
            message: "the value 'things' is invalid for '<kind>'. Please provide one of "
                + "'instances', 'policies', 'tokens' or 'events'.", help: "natfleet get"),
        Wrong(
            line: "get instances -o xml",
            message:
                "the value 'xml' is invalid for '-o <output>'. Please provide one of 'table', 'wide', 'name', 'json' "
                + "or 'yaml'.", help: "natfleet get"),
        Wrong(
            line: "get instances -w -o json", message: "--watch shows table, wide or name only", help: "natfleet get"),
        Wrong(
            line: "version -o wide",
            message: "the value 'wide' is invalid for '-o <output>'. Please provide one of 'table', 'json' or 'yaml'.",
            help: "natfleet version"),
        Wrong(
            line: "get instances --limit 3", message: "--limit, --since and --actor are for events only",
            help: "natfleet get"),
        Wrong(line: "get events --limit 0", message: "--limit is 1 to 1000", help: "natfleet get"),
        Wrong(line: "get events e1", message: "events have no names", help: "natfleet get"),
        Wrong(
            line: "delete web-egress",
            message: "write 'policy' and then the names: only policies can be deleted", help: "natfleet delete"),
        Wrong(
            line: "delete instance i-0a",
            message: "write 'policy' and then the names: only policies can be deleted", help: "natfleet delete"),
        Wrong(
            line: "delete policy", message: "write 'policy' and then the names: only policies can be deleted",
            help: "natfleet delete"),
        Wrong(line: "delete", message: "name policies, or files with -f, and not both", help: "natfleet delete"),
        Wrong(
            line: "delete policy a -f b", message: "name policies, or files with -f, and not both",
            help: "natfleet delete"),
        Wrong(line: "rollout undo a b", message: "name one policy", help: "natfleet rollout undo"),
        Wrong(
            line: "rollout undo a --to-revision 0", message: "--to-revision is at least 1",
            help: "natfleet rollout undo"),
        Wrong(line: "rollout history a b c", message: "name one policy", help: "natfleet rollout history"),
        Wrong(
            line: "instance retry", message: "name instances, or select them with --label, and not both",
            help: "natfleet instance retry"),
        Wrong(
            line: "instance retry i-0a -l a=b", message: "name instances, or select them with --label, and not both",
            help: "natfleet instance retry"),
        Wrong(line: "instance retry -l a=%", message: "'a=%' is not a label", help: "natfleet instance retry"),
        Wrong(
            line: "render -f x", message: "missing expected argument '--facts <file>'", help: "natfleet render"),
        Wrong(
            line: "import --name web x", message: "say who it is for: --label KEY=VALUE, or --instance ID",
            help: "natfleet import"),
        Wrong(
            line: "import --name a/b --label a=b x", message: "'a/b' is not a name for a policy",
            help: "natfleet import"),
        Wrong(
            line: "import --name a --instance i/ x", message: "'i/' is not an instance id", help: "natfleet import"),
        Wrong(
            line: "import --name a --label a=% x", message: "'a=%' is not a label that a policy can select by",
            help: "natfleet import"),
        Wrong(
            line: "render -f x --facts y --family ipv4 -o json", message: "--family is for the text output only",
            help: "natfleet render"),
    ])
    func exitsWithTwoForWrongUsage(_ example: Wrong) async throws {
        let run = try await natfleet(example.line)
        #expect(run.code == 2)
        #expect(run.output == "")
        #expect(run.errors == "error: \(example.message)\n  fix: run '\(example.help) --help'\n")
    }

    static let verbs = [
        "", "apply", "diff", "delete", "get", "describe", "events", "rollout", "rollout history", "rollout undo",
        "instance",
        "instance label", "instance cordon", "instance uncordon", "instance retry", "instance forget", "token",
        "token create", "token list", "token revoke", "render", "import", "completions", "version", "serve", "backup",
    ]

    @Test(arguments: verbs) func helpsWithAnExample(_ verb: String) async throws {
        let run = try await natfleet("\(verb) --help")
        #expect(run.code == 0)
        #expect(run.errors == "")
        #expect(run.output.hasPrefix("OVERVIEW: "))
        let examples = try #require(run.output.split(separator: "Examples:\n").dropFirst().first)
        let command = verb.isEmpty ? "natfleet" : "natfleet \(verb)"
        #expect(examples.hasPrefix("  \(command) ") || examples.contains(" \(command) "), "\(examples)")
    }

    @Test func everyVerbIsInTheHelpAndInTheTable() async throws {
        for group in ["", "rollout", "instance", "token"] {
            let help = try await natfleet("\(group) --help").output
            let names = try #require(help.split(separator: "SUBCOMMANDS:\n").dropFirst().first)
                .split(separator: "\n").filter { $0.hasPrefix("  ") && !$0.hasPrefix("   ") && !$0.contains("See '") }
                .compactMap { $0.split(separator: " ").first.map(String.init) }
            for name in names { #expect(Self.verbs.contains(group.isEmpty ? name : "\(group) \(name)"), "\(name)") }
        }
    }

    @Test(arguments: ["", "rollout", "instance", "token"]) func showsHelpForAVerbThatNeedsAnother(_ line: String)
        async throws
    {
        let run = try await natfleet(line)
        #expect(run.code == 0)
        #expect(run.output.contains("SUBCOMMANDS:"))
    }

    @Test(arguments: ["bash", "zsh", "fish"]) func completes(_ shell: String) async throws {
        let run = try await natfleet(["completions", shell], environment: [:])
        #expect(run.code == 0)
        #expect(run.errors == "")
        for word in ["rollout", "cordon", "expect-revision", "user-data"] {
            #expect(run.output.contains(word), "\(word)")
        }
        #expect(try await natfleet("--generate-completion-script \(shell)") == run)
    }
}
