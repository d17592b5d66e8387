// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: natfleet contributors

import Foundation
import Synchronization
import Testing

/// curl's answer: the status, 0 when there was none, and the body.
struct CurlAnswer: Sendable {
    var status: Int
    var contentType: String
    var body: Data
}

/// Runs the distribution's curl, a client that shares no code with the server.
///
/// - Parameter drip: written to the request body one byte each 50 ms, for as long as the server listens.
func curl(_ arguments: [String], drip: String? = nil) async throws -> CurlAnswer {
    let process = Process()
    process.executableURL = URL(fileURLWithPath: "/usr/bin/curl")
    process.arguments =
        ["--silent", "--max-time", "20", "--write-out", "\n%{http_code} %{content_type}"]
        + (drip == nil ? [] : ["--request", "POST", "--upload-file", "-", "--no-buffer"]) + arguments
    let (input, output) = (Pipe(), Pipe())
    process.standardOutput = output
    process.standardInput = input
    process.standardError = FileHandle.nullDevice
    let exited = AsyncStream<Void>.makeStream()
    process.terminationHandler = { _ in exited.continuation.finish() }
    try process.run()
    let feeder = Task {
        for byte in (drip ?? "").utf8 {
            try await Task.sleep(for: .milliseconds(50))
            try input.fileHandleForWriting.write(contentsOf: [byte])
        }
        try input.fileHandleForWriting.close()
    }
    for await _ in exited.stream {}
    feeder.cancel()
    let text = String(decoding: output.fileHandleForReading.readDataToEndOfFile(), as: UTF8.self)
    let lines = text.split(separator: "\n", omittingEmptySubsequences: false)
    let trailer = try #require(lines.last).split(separator: " ")
    return CurlAnswer(
        status: Int(trailer.first ?? "") ?? 0, contentType: trailer.count > 1 ? String(trailer[1]) : "",
        body: Data(lines.dropLast().joined(separator: "\n").utf8))
}
