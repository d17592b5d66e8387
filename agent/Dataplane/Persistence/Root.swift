// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: natfleet contributors

import AgentCore
import Glibc

/// The machine's files, all below one folder: `/`, or that of a test.
struct Root: Sendable {
    /// Empty for `/`.
    let prefix: String

    func path(_ path: String) -> String { prefix + path }

    /// nil where there is none.
    func text(_ path: String) throws(StateFileError) -> String? {
        try readFile(self.path(path)).map { String(decoding: $0, as: UTF8.self) }
    }

    func isThere(_ path: String) -> Bool { access(self.path(path), F_OK) == 0 }

    func isProgram(_ path: String) -> Bool { isExecutable(self.path(path)) }

    func write(_ path: String, _ text: String, mode: mode_t) throws(StateFileError) {
        let whole = self.path(path)
        if let slash = whole.lastIndex(of: "/") { try makeFolders(String(whole[..<slash]), mode: 0o755) }
        try writeWhole(whole, Array(text.utf8), mode: mode)
    }

    /// - Parameter text: nil for no such file.
    func hold(_ path: String, _ text: String?, mode: mode_t) throws(StateFileError) {
        guard try self.text(path) != text else { return }
        guard let text else { return try remove(path) }
        try write(path, text, mode: mode)
    }

    func remove(_ path: String) throws(StateFileError) { try removeFile(self.path(path)) }

    func sync(_ path: String) throws(StateFileError) { try syncFile(self.path(path)) }

    /// Why a file may not be written although it could: what a unit may write is settled when it starts.
    func advice(on path: String) -> String? {
        let folder = path.lastIndex(of: "/").map { String(path[..<$0]) } ?? "/"
        guard access(self.path(folder), W_OK) != 0, errno == EROFS else { return nil }
        return "if \(folder) came after the agent had started, restart natfleet-agent"
    }

    func names(in folder: String) -> [String] { namesInFolder(path(folder)) }
}
