// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: natfleet contributors

import Foundation
import Synchronization

/// `openssl s_server` on a free port of 127.0.0.1; ends with the last reference.
///
/// With `-HTTP` it answers `GET /FILE` with the bytes of FILE, head included, one connection each. Without, it prints
/// what a client sends and sends what `answer` writes: one connection at a time, which nobody else can enter meanwhile.
final class TLSServer: Sendable {
    struct Failure: Error {
        var message: String

        init(_ message: String) { self.message = message }
    }

    let port: Int
    private let process: Mutex<Process>
    private let input: Pipe
    /// A file: a `readabilityHandler` whose descriptor is closed while another program starts can bring libdispatch down.
    private let printed: URL

    init(_ authority: Authority, certificate: String, _ options: [String]) async throws {
        let process = authority.openssl(
            ["s_server", "-accept", "127.0.0.1:0", "-cert", "\(certificate).pem", "-key", "\(certificate).key"]
                + options)
        let (input, printed) = (Pipe(), authority.folder.appending(path: "\(UUID().uuidString).out"))
        try Data().write(to: printed)
        process.standardInput = input
        process.standardOutput = try FileHandle(forWritingTo: printed)
        process.standardError = FileHandle.nullDevice
        try process.run()
        var port: Int?
        for _ in 0..<1000 where port == nil {
            try await Task.sleep(for: .milliseconds(10))
            let line = Self.text(of: printed).split(separator: "\n").first { $0.hasPrefix("ACCEPT ") }
            port = line.flatMap { $0.split(separator: ":").last }.flatMap { Int($0) }
        }
        guard let port else {
            kill(process.processIdentifier, SIGKILL)
            throw Failure("s_server does not listen: \(Self.text(of: printed))")
        }
        self.port = port
        self.process = Mutex(process)
        self.input = input
        self.printed = printed
    }

    deinit {
        // Not SIGTERM: the program inherits the signal mask of the thread that started it, and Dispatch's block it.
        process.withLock { _ = kill($0.processIdentifier, SIGKILL) }
    }

    /// What was printed so far.
    var output: String { Self.text(of: printed) }

    private static func text(of file: URL) -> String {
        String(decoding: (try? Data(contentsOf: file)) ?? Data(), as: UTF8.self)
    }

    /// Waits until the server has printed `text` `times` times.
    func prints(_ text: String, times: Int = 1) async throws {
        for _ in 0..<1000 {
            if output.ranges(of: text).count >= times { return }
            try await Task.sleep(for: .milliseconds(10))
        }
        throw Failure("the server never printed '\(text)' \(times) times, but: \(output)")
    }

    func answer(_ text: String) throws { try input.fileHandleForWriting.write(contentsOf: Data(text.utf8)) }
}
