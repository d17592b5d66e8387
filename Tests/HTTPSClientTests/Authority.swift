// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: natfleet contributors

import Foundation
import TestSupport

/// A certificate authority of openssl's in a folder of its own, gone with the last reference.
final class Authority: Sendable {
    let folder: URL

    init() async throws {
        folder = FileManager.default.temporaryDirectory.appending(path: "natfleet-tls-\(UUID().uuidString)")
        try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
        try await request(["-subj", "/CN=authority", "-keyout", path("ca.key"), "-out", path("ca.pem")])
    }

    deinit { try? FileManager.default.removeItem(at: folder) }

    var pem: String { get throws { try text("ca.pem") } }

    /// Makes NAME.pem and NAME.key, signed by the authority, for a subject alternative name as openssl writes it.
    func issue(_ name: String, for alternativeName: String) async throws {
        try await request([
            "-CA", path("ca.pem"), "-CAkey", path("ca.key"), "-subj", "/CN=\(name)", "-addext",
            "subjectAltName=\(alternativeName)", "-keyout", path("\(name).key"), "-out", path("\(name).pem"),
        ])
    }

    func text(_ file: String) throws -> String {
        try String(contentsOf: folder.appending(path: file), encoding: .utf8)
    }

    func write(_ text: String, to file: String) throws {
        try Data(text.utf8).write(to: folder.appending(path: file))
    }

    private func request(_ arguments: [String]) async throws {
        let result = try await runProgram(
            "/usr/bin/openssl",
            ["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2"]
                + arguments)
        guard result.succeeded else { throw TLSServer.Failure("openssl req failed: \(result.errors)") }
    }

    private func path(_ file: String) -> String { folder.appending(path: file).path() }

    func openssl(_ arguments: [String]) -> Process {
        let process = Process()
        process.executableURL = URL(filePath: "/usr/bin/openssl")
        process.arguments = arguments
        process.currentDirectoryURL = folder
        process.standardInput = FileHandle.nullDevice
        return process
    }
}
