// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: natfleet contributors

import FleetModel
import Foundation
import Testing

@testable import ControllerCLI

/// The exit codes that the pages name are the ones that the command line has.
struct ExitCodePagesTests {
    private static func page(_ name: String) throws -> String {
        let page = URL(filePath: #filePath).deletingLastPathComponent().appending(path: "../../docs/\(name)")
        return try String(contentsOf: page, encoding: .utf8)
    }

    @Test(arguments: ErrorCode.allCases) func ofEachError(_ code: ErrorCode) throws {
        let sections = try Self.page("errors.md").split(separator: "\n## ").dropFirst()
        let section = try #require(sections.first { $0.hasPrefix("\(code.rawValue)\n") })
        let named = section.matches(of: /\b[Ee]xit ([0-9]+)/).compactMap { Int32($0.output.1) }
        #expect(named == [ControllerCLI.ExitStatus(code).rawValue])
    }

    @Test(arguments: ControllerCLI.ExitStatus.allCases) func inTheTableOfTheCommandLine(
        _ status: ControllerCLI.ExitStatus
    ) throws {
        let rows = try Self.page("cli.md").matches(of: /(?m)^\| ([0-9]+) \|[^|]*\|([^|]*)\|$/)
        let row = try #require(rows.first { Int32($0.output.1) == status.rawValue })
        let named = row.output.2.matches(of: /`([a-z-]+)`/).map { String($0.output.1) }
        #expect(Set(named) == Set(ErrorCode.allCases.filter { ControllerCLI.ExitStatus($0) == status }.map(\.rawValue)))
        #expect(rows.count == ControllerCLI.ExitStatus.allCases.count)
    }
}
