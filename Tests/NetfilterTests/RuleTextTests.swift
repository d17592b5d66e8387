// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: natfleet contributors

import NetAddress
import Netfilter
import TestSupport
import Testing

struct RuleTextTests {
    @Test(arguments: IPFamily.allCases)
    func ruleIsWrittenAsTheKernelPrintsIt(family: IPFamily) throws {
        for shape in try RuleShape.all(family) {
            #expect(shape.rule.line(in: shape.chain) == shape.line)
        }
    }

    @Test func restoreTextParsesBackToTheSameState() throws {
        for family in IPFamily.allCases {
            let rules = try RuleShape.rules(family)
            #expect(try OwnedState(parsing: renderRestore(rules)) == rules.ownedState)
            #expect(try OwnedState(parsing: renderRestore(rules, jumps: .first)) == rules.ownedState)
        }
        #expect(renderRestore(FamilyRules()).isEmpty)
    }

    @Test func nothingDeclaresABuiltInChain() throws {
        let text = renderRestore(try RuleShape.rules(.ipv4))
        #expect(text.split(separator: "\n").filter { $0.hasPrefix(":") }.allSatisfy { $0.hasPrefix(":NATFLEET-") })
    }

    @Test func commentIsCutAt255Bytes() {
        let line = Rule(comment: String(repeating: "a", count: 300), target: .drop).line(in: "NATFLEET-FWD")
        #expect(ruleWords(line)[5].utf8.count == 255)
    }

    @Test func hostileStringsStayInsideTheirRule() throws {
        var random = SeededGenerator(seed: 20_240_611)
        let pieces = [
            "\n", "\r", "\r\n", "\0", "\"", "'", "\\", " ", "\t", "-j ACCEPT", "COMMIT\n*filter\n:INPUT DROP [0:0]\n",
            "#",
            "*nat", "-A INPUT -j DROP", "\u{2028}", "\u{85}", "é", "\u{7f}", "!", "-", "+", "[0:0] ", "eth0",
            "$(reboot)",
            "`id`", "%s", "",
        ]
        for _ in 0..<3000 {
            func hostile() -> String {
                (0..<Int.random(in: 0...6, using: &random)).compactMap { _ in pieces.randomElement(using: &random) }
                    .joined()
            }
            let (comment, inside, outside, chain) = (hostile(), hostile(), hostile(), "NATFLEET-" + hostile())
            let rule = Rule(inInterface: inside, outInterface: outside, comment: comment, target: .accept)
            var rules = FamilyRules()
            rules.filter.add(chain, from: .forward, rules: [rule, rule])
            let text = renderRestore(rules)
            let names = "\(comment.debugDescription) \(inside.debugDescription) \(chain.debugDescription)"
            #expect(text.utf8.count { $0 == UInt8(ascii: "\n") } == 6, "\(names)")
            #expect(text.utf8.allSatisfy { $0 == UInt8(ascii: "\n") || (0x20...0x7e).contains($0) }, "\(names)")
            let words = ruleWords(rule.line(in: chain))
            #expect(words.count == 12, "\(names)")
            #expect(words.suffix(2) == ["-j", "ACCEPT"], "\(names)")
            let parsed = try OwnedState(parsing: text)
            #expect(parsed == rules.ownedState, "\(names)")
        }
    }
}
