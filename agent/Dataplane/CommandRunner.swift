// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: natfleet contributors

package import AgentCore
import CGlibcCompat
import Glibc
import Subprocess
import SystemPackage

/// Runs the distribution's programs, by absolute path and with a time limit. One that is too slow is ended with all that
/// it started: init scripts start others.
package struct CommandRunner: Sendable {
    /// Where programs are looked for: a daemon's PATH may lack sbin. Also the PATH that they get.
    package static let systemFolders = ["/usr/sbin", "/sbin", "/usr/bin", "/bin"]

    let timeout: Duration
    let folders: [String]

    package init(timeout: Duration = .seconds(60), folders: [String] = Self.systemFolders) {
        self.timeout = timeout
        self.folders = folders
    }

    /// - Returns: standard output.
    /// - Throws: when the program is missing, exits with anything but 0, or takes too long; names command and message.
    package func run(_ program: String, _ arguments: [String], input: String = "") async throws(KernelError) -> String {
        let result = try await result(program, arguments, input: input)
        guard let failure = result.failure else { return result.output }
        throw KernelError(failure)
    }

    /// - Returns: what it printed, whatever its exit status.
    /// - Throws: when the program is missing or takes too long.
    func result(
        _ program: String, _ arguments: [String], input: String = "", within limit: Duration? = nil
    ) async throws(KernelError) -> CommandResult {
        let command = ([program] + arguments).joined(separator: " ")
        guard let path = locate(program) else {
            throw KernelError("\(program) is not installed (looked in \(folders.joined(separator: ", ")))")
        }
        do {
            return try await finish(within: limit ?? timeout) {
                try await self.execute(path, arguments, input, command)
            }
        } catch let error as KernelError {
            throw KernelError("\(command): \(error)")
        } catch {
            throw KernelError("\(command): \(error)")
        }
    }

    /// `run` for several at once, which have no typed errors.
    func attempt(_ program: String, _ arguments: [String]) async -> Result<String, KernelError> {
        do throws(KernelError) {
            return .success(try await run(program, arguments))
        } catch {
            return .failure(error)
        }
    }

    private func execute(
        _ path: String, _ arguments: [String], _ input: String, _ command: String
    ) async throws -> CommandResult {
        let standardInput = try memoryFile(input)
        var options = PlatformOptions()
        options.processGroupID = 0
        options.teardownSequence = [
            .gracefulShutDown(toProcessGroup: true, allowedDurationToNextStep: .milliseconds(500))
        ]
        let result = try await Subprocess.run(
            .path(FilePath(path)), arguments: .init(arguments),
            environment: .inherit.updating(["LC_ALL": "C", "PATH": folders.joined(separator: ":")]),
            platformOptions: options, input: .fileDescriptor(standardInput, closeAfterSpawningProcess: true),
            // Bytes: the package's own strings are made a byte at a time, which took longer than iptables-save.
            output: .bytes(limit: 64 << 20), error: .bytes(limit: 1 << 20))
        let output = String(decoding: result.standardOutput, as: UTF8.self)
        guard !result.terminationStatus.isSuccess else { return CommandResult(output: output) }
        let said = String(decoding: result.standardError, as: UTF8.self).split(separator: "\n").prefix(3)
            .joined(separator: "; ")
        let failure = "\(command): \(describe(result.terminationStatus)): \(said.isEmpty ? "no message" : said)"
        return CommandResult(output: output, failure: failure)
    }

    private func finish(
        within limit: Duration, _ body: @escaping @Sendable () async throws -> CommandResult
    ) async throws -> CommandResult {
        try await withThrowingTaskGroup(of: CommandResult.self) { group in
            group.addTask(operation: body)
            group.addTask {
                try await Task.sleep(for: limit)
                throw KernelError("no end after \(limit)")
            }
            defer { group.cancelAll() }
            guard let output = try await group.next() else { throw KernelError("cancelled") }
            return output
        }
    }

    /// nil where there is no such program; an absolute path is looked for there only.
    func locate(_ program: String) -> String? {
        if program.hasPrefix("/") { return isExecutable(program) ? program : nil }
        return folders.map { "\($0)/\(program)" }.first { isExecutable($0) }
    }
}

struct CommandResult: Sendable {
    /// Standard output.
    var output: String
    /// nil for exit status 0, else which command said what.
    var failure: String?
}

/// A file in memory, at its beginning. Not a pipe: a program that ends before it has read a long input would take this
/// process with it (EPIPE).
private func memoryFile(_ text: String) throws -> FileDescriptor {
    let number = natfleet_memory_file()
    guard number >= 0 else { throw KernelError("memfd_create: \(String(cString: strerror(errno)))") }
    let file = FileDescriptor(rawValue: number)
    do {
        try file.writeAll(text.utf8)
        try file.seek(offset: 0, from: .start)
        return file
    } catch {
        try? file.close()
        throw error
    }
}

private func describe(_ status: TerminationStatus) -> String {
    switch status {
    case .exited(let code): "exit status \(code)"
    case .signaled(let signal): "killed by signal \(signal)"
    }
}
