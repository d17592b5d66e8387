// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: natfleet contributors

package import AgentCore
import CGlibcCompat
import Glibc
import Subprocess
import SystemPackage

/// Runs the distribution's programs, by absolute path and with a time limit.
package struct CommandRunner: Sendable {
    /// Where programs are looked for: a daemon's PATH may lack sbin.
    static let folders = ["/usr/sbin", "/sbin", "/usr/bin", "/bin"]

    let timeout: Duration

    package init(timeout: Duration = .seconds(60)) { self.timeout = timeout }

    /// - Returns: standard output.
    /// - Throws: when the program is missing, exits with anything but 0, or takes too long; names command and message.
    package func run(_ program: String, _ arguments: [String], input: String = "") async throws(KernelError) -> String {
        let command = ([program] + arguments).joined(separator: " ")
        guard let path = Self.locate(program) else {
            throw KernelError("\(program) is not installed (looked in \(Self.folders.joined(separator: ", ")))")
        }
        do {
            return try await finish(within: timeout) {
                try await self.execute(path, arguments, input, command)
            }
        } catch let error as KernelError {
            throw error
        } catch {
            throw KernelError("\(command): \(error)")
        }
    }

    private func execute(
        _ path: String, _ arguments: [String], _ input: String, _ command: String
    ) async throws -> String {
        let standardInput = try memoryFile(input)
        let result = try await Subprocess.run(
            .path(FilePath(path)), arguments: .init(arguments), environment: .inherit.updating(["LC_ALL": "C"]),
            input: .fileDescriptor(standardInput, closeAfterSpawningProcess: true), output: .string(limit: 64 << 20),
            error: .string(limit: 1 << 20))
        guard result.terminationStatus.isSuccess else {
            let said = result.standardError.split(separator: "\n").prefix(3).joined(separator: "; ")
            throw KernelError(
                "\(command): \(describe(result.terminationStatus)): \(said.isEmpty ? "no message" : said)")
        }
        return result.standardOutput
    }

    private func finish(
        within limit: Duration, _ body: @escaping @Sendable () async throws -> String
    ) async throws -> String {
        try await withThrowingTaskGroup(of: String.self) { group in
            group.addTask(operation: body)
            group.addTask {
                try await Task.sleep(for: limit)
                throw KernelError("no end after \(limit.components.seconds) s")
            }
            defer { group.cancelAll() }
            guard let output = try await group.next() else { throw KernelError("cancelled") }
            return output
        }
    }

    static func locate(_ program: String) -> String? {
        folders.map { "\($0)/\(program)" }.first { isExecutable($0) }
    }
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
