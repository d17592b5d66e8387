// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: natfleet contributors

import Netfilter

/// How many packets ended at each rule and policy that drops or rejects, as `iptables-save -c` prints it: two of them tell
/// whose rule it was. Rules are read here to be named, never to decide anything.
package struct RuleCounters: Hashable, Sendable {
    private struct Rule: Hashable {
        let table: Substring
        let chain: Substring
        /// 0 for the policy of the chain.
        let number: Int
        /// `-A …`, without counters.
        let text: Substring
    }

    private var rules: [Rule] = []
    private var packets: [Rule: UInt64] = [:]

    package init(parsing save: String) {
        var table: Substring = ""
        var count: [Substring: Int] = [:]
        for line in save.split(separator: "\n") {
            switch line.first {
            case "*":
                table = line.dropFirst()
                count = [:]
            case ":": add(policy: line, table)
            case "[":
                guard let end = line.firstIndex(of: "]") else { continue }
                let text = line[line.index(after: end)...].drop { $0 == " " }
                let words = text.split(separator: " ", maxSplits: 2)
                guard words.count > 1, words[0] == "-A" else { continue }
                count[words[1], default: 0] += 1
                guard text.contains(" -j DROP") || text.contains(" -j REJECT") else { continue }
                add(Rule(table: table, chain: words[1], number: count[words[1]] ?? 0, text: text), line)
            default: continue
            }
        }
    }

    /// `:FORWARD DROP [12:3456]`
    private mutating func add(policy line: Substring, _ table: Substring) {
        let words = line.dropFirst().split(separator: " ")
        guard words.count == 3, words[1] == "DROP" else { return }
        add(Rule(table: table, chain: words[0], number: 0, text: "-P \(words[0]) DROP"), words[2])
    }

    private mutating func add(_ rule: Rule, _ counters: Substring) {
        guard let count = UInt64(counters.dropFirst().prefix { $0 != ":" }) else { return }
        rules.append(rule)
        packets[rule] = count
    }

    /// The rule or policy that ended at least `count` packets since `earlier`, the one that ended the fewest more; nil
    /// where none did. Says it so that it can stand after "clients are not forwarded".
    package func culprit(of count: UInt64, since earlier: RuleCounters, program: String) -> String? {
        let moved = rules.compactMap { rule -> (rule: Rule, by: UInt64)? in
            let before = earlier.packets[rule] ?? 0
            guard let now = packets[rule], now >= before + count else { return nil }
            return (rule, now - before)
        }
        guard let rule = moved.min(by: { $0.by < $1.by })?.rule else { return nil }
        let place = "of chain \(rule.chain), table \(rule.table) (\(program))"
        if rule.number == 0 { return "the policy \(place) drops them" }
        if rule.chain.hasPrefix(ownedChainPrefix) {
            return "natfleet's own guard drops them, since no masquerade covers them: \(rule.text)"
        }
        let verb = rule.text.contains(" -j REJECT") ? "rejects" : "drops"
        return "rule \(rule.number) \(place) \(verb) them: \(rule.text)"
    }
}
