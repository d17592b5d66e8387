// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: natfleet contributors

import AgentCore
import AgentDataplane
import AgentNetlink
import ArgumentParser
import Glibc
import Logging

struct UninstallCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "uninstall",
        abstract: "Take natfleet off this instance: its rules, settings, files and units.",
        discussion: """
            Forwarding goes off first, where natfleet turned it on; then natfleet's chains and jumps leave both families;
            other settings go back to the values that were found; then what would come back at boot, and the agent's state
            and identity. Rules of others stay. With --keep-nat translation goes on as it is, and only the agent's own
            state goes. What cannot be removed is said; running it again goes on from there.

            Stop the agent first: systemctl stop natfleet-agent. To the controller the instance is offline: 'natfleet
            instance forget ID' there removes it. Exit status: 0 when all is gone, 1 when something could not be removed,
            2 when nothing was touched.

            Examples: natfleet-agent uninstall
                      natfleet-agent uninstall --yes --keep-nat
            """)

    @Option(help: "The configuration file.")
    var config = Configuration.defaultFile

    @Flag(help: "Don't ask. Needed where standard input is not a terminal.")
    var yes = false

    @Flag(help: "Leave rules, forwarding and saved files as they are: translation goes on without natfleet.")
    var keepNat = false

    @Flag(help: "Keep key and certificate: an agent installed later is the same instance.")
    var keepIdentity = false

    func run() async throws {
        guard geteuid() == 0 else { throw refusal("this changes rules and settings", fix: "run it as root") }
        let directory = try loadStateDirectory(config)
        try confirm(directory)
        let (files, lock) = try open(directory)
        defer { lock.release() }
        let log = Logger(label: "natfleet-agent") { _ in SwiftLogNoOpLogHandler() }
        let machinery = Machinery(
            kernel: LinuxKernel(vpcCIDRs: [], controller: [], marks: .kernel), flows: ConntrackTable(),
            files: files, probe: makeProbe(log), persistence: LinuxPersistence())
        var report = await Uninstall(machinery, disableUnit: AgentUnit.disable)
            .run(keepNAT: keepNat, keepIdentity: keepIdentity)
        do throws(StateFileError) {
            if report.failures.isEmpty, !keepIdentity, try !removeStateFolder(directory) {
                report.left.append("\(directory), which holds files that are not the agent's")
            }
        } catch {
            report.failures.append(error.description)
        }
        // Left by an agent that was killed, and gone with the next boot.
        try? DirectoryStateFiles(reading: Configuration.runDirectory).remove(.told)
        _ = try? removeStateFolder(Configuration.runDirectory)
        show(report)
        guard report.failures.isEmpty else { throw ExitCode(1) }
    }

    private func open(_ directory: String) throws -> (DirectoryStateFiles, StateLock) {
        do {
            let files = try DirectoryStateFiles(directory: directory)
            guard try !StateLock.isHeld(directory: directory) else {
                throw refusal("an agent runs on \(directory)", fix: "stop it first: systemctl stop natfleet-agent")
            }
            return (files, try StateLock(directory: directory))
        } catch let error as StateFileError {
            throw refusal(error.description, fix: "see why the state folder cannot be used")
        }
    }

    private func confirm(_ directory: String) throws {
        if yes { return }
        guard isatty(STDIN_FILENO) == 1 else {
            throw refusal("nobody can be asked: standard input is not a terminal", fix: "say --yes if you mean it")
        }
        let what = keepNat ? "the agent's state in \(directory)" : "natfleet's rules, settings and state from this host"
        print("Remove \(what)? Type yes: ", terminator: "")
        fflush(nil)
        guard readLine() == "yes" else { throw refusal("not confirmed", fix: "type yes to go on") }
    }

    private func show(_ report: UninstallReport) {
        if report.removed.isEmpty, report.failures.isEmpty, !keepNat {
            print("nothing of natfleet was there")
        }
        for line in report.removed { print("removed  \(line)") }
        for line in report.left { print("left     \(line)") }
        for line in report.failures { printError("error: \(line)") }
        guard report.failures.isEmpty else {
            return printError("  fix: mend what is named and run this again; it goes on where it ended")
        }
        if !keepNat {
            print("left     the package and \(config), if they are there; remove them by your package manager")
        }
    }

    private func refusal(_ message: String, fix: String) -> ExitCode {
        printError("error: \(message)\n  fix: \(fix)")
        return ExitCode(2)
    }

    private func printError(_ text: String) {
        let line = text + "\n"
        write(STDERR_FILENO, line, line.utf8.count)
    }
}
