// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: natfleet contributors

package import ArgumentParser
internal import FleetModel

/// The operator's command line: verbs that parse, call the controller's API like any client, and print.
///
/// Goals: every verb is a function of its arguments and a `CLIContext`, so that a test sees exactly what an operator
/// sees; data goes to standard output and messages to standard error; each failure has a code, a cause and what to do.
/// Approach: ArgumentParser parses into values, a verb fetches values through `FleetClient`, and `OutputFormat` is the
/// one place that knows how they become text. Exit codes are mapped in `ExitStatus` only.
///
/// An executable declares its root with `CommandConfiguration.natfleet(extra:)` and returns what `runCLI` returns.
extension CommandConfiguration {
    /// The root command: the operator's verbs, and those of the executable's own before them.
    package static func natfleet(extra: [any ParsableCommand.Type] = []) -> CommandConfiguration {
        CommandConfiguration(
            commandName: "natfleet",
            abstract: "Keep a fleet of NAT instances doing exactly what was asked.",
            discussion: """
                Policies are files; the controller stores each change as a revision and the agents make it true.

                Examples:
                  natfleet serve
                  natfleet apply -f policy.yaml
                  natfleet get instances
                  natfleet diff -f policy.yaml
                  natfleet rollout undo web-egress

                Exit codes: 0 done, 1 differences, 2 usage, 3 not found, 4 conflict, 5 denied, 6 unreachable or timed out.
                """,
            version: "natfleet \(NatfleetVersion.current)",
            subcommands: extra + operatorCommands
        )
    }
}

/// The verbs of an operator, in the order of the help text.
package let operatorCommands: [any ParsableCommand.Type] = [
    Apply.self, Diff.self, Delete.self, Get.self, Describe.self, Events.self, Rollout.self, InstanceGroup.self,
    Token.self, Render.self, Import.self, Completions.self, Version.self,
]

/// A command that runs in a `CLIContext` instead of the process.
package protocol Verb: AsyncParsableCommand {
    /// - Throws: `Failure`, `FleetError`, or an error of ArgumentParser's for wrong usage.
    func run(_ context: CLIContext) async throws
}

extension Verb {
    package mutating func run() async throws { try await run(.process) }
}

/// Parses and runs one command line of `root`; the result is the process's exit code.
///
/// - Parameter arguments: without the program's name.
package func runCLI(_ root: any ParsableCommand.Type, _ arguments: [String], _ context: CLIContext) async -> Int32 {
    let arguments = verbFirst(root, arguments)
    do {
        var command = try root.parseAsRoot(arguments)
        if let verb = command as? any Verb {
            try await verb.run(context)
        } else if var command = command as? any AsyncParsableCommand {
            try await command.run()
        } else {
            try command.run()
        }
        return ExitStatus.done.rawValue
    } catch let failure as Failure {
        return report(failure, context)
    } catch let error as FleetError {
        return report(Failure(error), context)
    } catch let request as Completions.Request {
        context.output(root.completionScript(for: request.shell) + "\n")
        return ExitStatus.done.rawValue
    } catch let code as ExitCode {
        return code.rawValue
    } catch {
        return reportParserError(error, root, arguments, context)
    }
}

private func report(_ failure: Failure, _ context: CLIContext) -> Int32 {
    context.errors(failure.text)
    return ExitStatus(failure.error.code).rawValue
}

/// Help and version requests are errors to ArgumentParser; wrong usage has a code of its own there.
private func reportParserError(
    _ error: any Error, _ root: any ParsableCommand.Type, _ arguments: [String], _ context: CLIContext
) -> Int32 {
    switch root.exitCode(for: error) {
    case .success:
        context.output(root.fullMessage(for: error) + "\n")
        return ExitStatus.done.rawValue
    case .validationFailure:
        let command = commandPath(root, arguments).joined(separator: " ")
        let message = root.message(for: error)
        let usage = FleetError(
            .badRequest, message.prefix(1).lowercased() + message.dropFirst(), remedy: "run '\(command) --help'")
        return report(Failure(usage), context)
    default:
        return report(Failure(.fault("\(error)")), context)
    }
}

/// With `--config FILE` behind the verb, where it is parsed, if it stood before.
private func verbFirst(_ root: any ParsableCommand.Type, _ arguments: [String]) -> [String] {
    let length = arguments.first == "--config" ? 2 : arguments.first?.hasPrefix("--config=") == true ? 1 : 0
    guard length > 0, arguments.count > length else { return arguments }
    let rest = Array(arguments.dropFirst(length))
    let verb = commandPath(root, rest).count - 1
    return Array(rest.prefix(verb) + arguments.prefix(length) + rest.dropFirst(verb))
}

/// The subcommands that the arguments name, for pointing at the right help.
private func commandPath(_ root: any ParsableCommand.Type, _ arguments: [String]) -> [String] {
    var path = [root._commandName]
    var command = root
    for argument in arguments {
        guard let next = command.configuration.subcommands.first(where: { $0._commandName == argument }) else { break }
        path.append(argument)
        command = next
    }
    return path
}
