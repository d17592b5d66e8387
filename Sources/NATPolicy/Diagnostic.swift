// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: natfleet contributors

/// One fault of a policy document, as data: what, where and the remedy.
package struct Diagnostic: Codable, Hashable, Sendable, Error {
    /// The file as the operator named it; `-` is standard input.
    package var file: String
    /// 1-based; 0 where the fault has no place in a file.
    package var line: Int
    package var column: Int
    /// Into the document: `spec.dnat[2].port`; empty for the whole of it.
    package var path: String
    /// What is wrong, lower case, without a final period.
    package var message: String
    /// What to do about it, an imperative sentence without a final period.
    package var remedy: String

    package init(file: String, line: Int, column: Int, path: String, message: String, remedy: String) {
        self.file = file
        self.line = line
        self.column = column
        self.path = path
        self.message = message
        self.remedy = remedy
    }
}

extension Diagnostic: CustomStringConvertible {
    package var description: String {
        let place = line > 0 ? "\(file):\(line):\(column)" : file
        return "\(place): \(path.isEmpty ? "" : path + ": ")\(message)"
    }
}
