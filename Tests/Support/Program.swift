// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: natfleet contributors

import Foundation
import Subprocess
// Of swift-subprocess, for the type of its paths.
import SystemPackage

/// What a program did.
package struct ProgramResult: Sendable {
    /// The exit status; minus the number of the signal that ended the program.
    package var status: Int
    package var output: String
    package var errors: String

    package var succeeded: Bool { status == 0 }
}

package struct ProgramTimeout: Error, CustomStringConvertible {
    package let description: String
}

/// Runs a program to its end, the one way in which tests run programs.
///
/// - Parameters:
///   - path: absolute.
///   - timeout: when it is over the program is killed.
/// - Throws: when it cannot be started, prints more than 16 MB or takes too long; never for its exit status.
package func runProgram(
    _ path: String,
    _ arguments: [String] = [],
    input: String = "",
    timeout: Duration = .seconds(60)
) async throws -> ProgramResult {
    // Not a pipe: swift-subprocess does not survive a program that ends before it has read a long input.
    let file = FileManager.default.temporaryDirectory.appending(path: "natfleet-input-\(UUID().uuidString)")
    try Data(input.utf8).write(to: file)
    defer { try? FileManager.default.removeItem(at: file) }
    return try await withThrowingTaskGroup(of: ProgramResult.self) { group in
        group.addTask {
            let standardInput = try FileDescriptor.open(FilePath(file.path()), .readOnly)
            let result = try await run(
                .path(FilePath(path)),
                arguments: Arguments(arguments),
                input: .fileDescriptor(standardInput, closeAfterSpawningProcess: true),
                output: .string(limit: 16 << 20),
                error: .string(limit: 1 << 20)
            )
            let status =
                switch result.terminationStatus {
                case .exited(let code): Int(code)
                case .signaled(let signal): -Int(signal)
                }
            return ProgramResult(status: status, output: result.standardOutput, errors: result.standardError)
        }
        group.addTask {
            try await Task.sleep(for: timeout)
            throw ProgramTimeout(description: "\(path) took more than \(timeout)")
        }
        defer { group.cancelAll() }
        guard let first = try await group.next() else { throw CancellationError() }
        return first
    }
}

/// Suites that need the kernel: skipped where it cannot be had, unless NATFLEET_REQUIRE_KERNEL=1 says that it must be.
package enum KernelSuite {
    package static var isRequired: Bool { ProcessInfo.processInfo.environment["NATFLEET_REQUIRE_KERNEL"] == "1" }

    /// Whether to run a test that needs a program of the distribution (`scripts/setup test`).
    package static func expects(_ program: String) -> Bool {
        isRequired || FileManager.default.isExecutableFile(atPath: program)
    }

    /// Whether to run: all programs are there and namespaces may be made.
    package static func canRun(_ programs: [String]) async -> Bool {
        if isRequired { return true }
        guard programs.allSatisfy(FileManager.default.isExecutableFile(atPath:)) else { return false }
        let probe = try? await runProgram("/usr/bin/unshare", unshare + ["/bin/true"])
        return probe?.succeeded ?? false
    }

    /// For network and mounts of one's own. Root stays what it is: in a user namespace the kernel bounds what a socket
    /// may send at once, and thousands of nft rules are more.
    package static var unshare: [String] { (getuid() == 0 ? [] : ["--map-root-user"]) + ["--net", "--mount"] }
}
