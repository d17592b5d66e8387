// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: natfleet contributors

import ControllerHTTP
import FleetModel
import Foundation
import Testing

/// docs/errors.md is the catalogue: a heading a code, with the status that the API gives it, and a remedy. Exit codes are
/// for CLITests.
struct ErrorCatalogueTests {
    private static func sections() throws -> [(code: String, text: String)] {
        let page = URL(filePath: #filePath).deletingLastPathComponent().appending(path: "../../docs/errors.md")
        let text = try String(contentsOf: page, encoding: .utf8)
        return text.split(separator: "\n## ").dropFirst().map { section in
            let lines = section.split(separator: "\n", maxSplits: 1)
            return (String(lines[0]), lines.count > 1 ? String(lines[1]) : "")
        }
    }

    @Test func everyCodeHasItsHeading() throws {
        #expect(try Self.sections().map(\.code) == ErrorCode.allCases.map(\.rawValue))
    }

    @Test(arguments: ErrorCode.allCases)
    func eachSaysItsStatusAndWhatToDo(_ code: ErrorCode) throws {
        let section = try #require(try Self.sections().first { $0.code == code.rawValue })
        #expect(section.text.contains("HTTP \(code.httpStatus)"))
        #expect(section.text.contains("*Remedy:*"))
    }
}
