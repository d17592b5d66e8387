// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: natfleet contributors

import FleetModel
import Foundation
import Testing

/// docs/conditions.md is the catalogue: a heading a code, with its severity, how long it takes to show, what it follows from
/// and a remedy.
struct ConditionCatalogueTests {
    private static func sections() throws -> [(code: String, text: String)] {
        let page = URL(filePath: #filePath).deletingLastPathComponent().appending(path: "../../docs/conditions.md")
        let text = try String(contentsOf: page, encoding: .utf8)
        return text.split(separator: "\n## ").dropFirst().map { section in
            let lines = section.split(separator: "\n", maxSplits: 1)
            return (String(lines[0]), String(lines.last?.drop(while: \.isNewline) ?? ""))
        }
    }

    @Test func everyCodeHasItsHeadingAndNoOther() throws {
        #expect(try Self.sections().map(\.code) == ConditionKind.catalogue.map(\.code))
        #expect(Set(ConditionKind.catalogue.map(\.code)).count == ConditionKind.catalogue.count)
    }

    @Test(arguments: ConditionKind.catalogue.map(\.code))
    func eachSaysWhatItIsAndWhatToDo(_ code: String) throws {
        let kind = try #require(ConditionKind.named(code))
        let text = try #require(try Self.sections().first { $0.code == kind.code }).text
        let head = text.prefix { $0 != "." }
        #expect(text.lowercased().hasPrefix(kind.severity.rawValue))
        #expect(text.contains("*Remedy:*") && kind.code.wholeMatch(of: /[a-z0-9]+(-[a-z0-9]+)*/) != nil)
        let after = Int(kind.after)
        let time = after < 60 ? "\(after) s" : "\(after / 60) min"
        #expect(head.contains("shows after") == (after > 0))
        #expect(after == 0 || head.contains("shows after \(time)"), "\(head)")
        var named = Set(head.matches(of: /`([a-z0-9-]+)`/).map { String($0.1) })
        if head.contains("a lost fact") { named.formUnion(Self.lostFacts) }
        #expect(kind.isLocal || named == Set(kind.dependsOn.map(\.code)), "\(head)")
    }

    private static let lostFacts = [
        "facts-lost", "outside-interface-missing", "outside-address-missing", "ipv4-route-lost", "ipv6-route-lost",
    ]

    /// To leave out what follows never makes an instance look better, not even for a moment.
    @Test(arguments: ConditionKind.catalogue.map(\.code))
    func aCauseIsAtLeastAsBadAndAsFastAsWhatFollows(_ code: String) throws {
        let kind = try #require(ConditionKind.named(code))
        for cause in kind.dependsOn {
            #expect(cause.severity >= kind.severity && cause.after <= kind.after && !cause.isLocal, "\(cause.code)")
        }
    }
}
