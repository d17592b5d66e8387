// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: natfleet contributors

import NATPolicy
import NetAddress

/// Turns rules into entries. First all rules are gathered, then port forwards are read, then masquerades, since some of
/// those belong to a port forward.
struct Importer {
    struct Taken<Entry> {
        var entry: Entry
        let rule: SavedRule
    }

    /// A destination that a rule before the masquerades lets through as it is.
    struct Exemption {
        let rule: SavedRule
        let source: CIDR?
        let destination: CIDR
        let interface: String?
        var isUsed = false
    }

    let facts: HostFacts?
    var remarks: [ImportRemark] = []
    var taken = 0
    var masquerades: [IPFamily: [Taken<Masquerade>]] = [:]
    var forwards: [Taken<PortForward>] = []
    var exemptions: [IPFamily: [Exemption]] = [:]
    private var rules: [SavedRule] = []
    private var names: [IPFamily: Set<String>] = [:]
    private var numbers: [String: Int] = [:]
    /// By family, where its rules translate to the outside.
    private var outsides: [IPFamily: String] = [:]

    init(facts: HostFacts?) { self.facts = facts }

    mutating func add(_ tables: SavedTables) {
        rules += tables.rules
        remarks += tables.remarks
        for place in tables.droppingForward {
            remarks.append(
                ImportRemark(
                    kind: .note, place: place, text: "FORWARD drops; natfleet accepts what it translates before that"))
        }
    }

    mutating func run() {
        for family in IPFamily.allCases { outsides[family] = findOutside(family) }
        let own = rules.filter { !$0.chain.hasPrefix("NATFLEET-") && !$0.target.hasPrefix("NATFLEET-") }
        let nat = own.filter { $0.table == "nat" }
        for rule in nat where rule.chain == "PREROUTING" {
            attempt(rule) { (own) throws(Unusable) in try own.readPrerouting(rule) }
        }
        resolveOverlaps()
        for rule in nat where rule.chain == "POSTROUTING" {
            attempt(rule) { (own) throws(Unusable) in try own.readPostrouting(rule) }
        }
        finishExemptions()
        for rule in nat where !["PREROUTING", "POSTROUTING"].contains(rule.chain) {
            leave(rule, "natfleet does not read chain \(quoted(rule.chain)) of table nat")
        }
        for rule in own where rule.table == "filter" { readFilter(rule) }
        for rule in own where !["nat", "filter"].contains(rule.table) {
            keep(rule, "natfleet leaves table \(shown(rule.table)) alone")
        }
        tellOfGuard()
    }

    private mutating func attempt(_ rule: SavedRule, _ read: (inout Importer) throws(Unusable) -> Void) {
        if let unknown = rule.unknown { return leave(rule, "natfleet has no \(quoted(unknown))") }
        do throws(Unusable) { try read(&self) } catch { leave(rule, error.reason) }
    }

    // MARK: Remarks

    mutating func note(_ rule: SavedRule, _ text: String) {
        remarks.append(ImportRemark(kind: .note, place: rule.place, text: text))
    }

    mutating func keep(_ rule: SavedRule, _ text: String) {
        remarks.append(ImportRemark(kind: .kept, place: rule.place, rule: rule.text, text: text))
    }

    mutating func leave(_ rule: SavedRule, _ reason: String) {
        remarks.append(.left(rule.text, reason, at: rule.place))
    }

    // MARK: Names

    /// A name that no entry of `families` has: the comment's words, else `fallback`, with a number where it is taken.
    mutating func name(_ rule: SavedRule, _ fallback: String, in families: [IPFamily]) -> String {
        let words = String((rule.comment ?? "").map { NameRule.isName("a\($0)") ? $0 : "-" })
        let trimmed = words.drop { !NameRule.isName(String($0)) }.prefix(56)
        let base = trimmed.isEmpty ? fallback : String(trimmed.reversed().drop { $0 == "-" }.reversed())
        var name = base
        while families.contains(where: { names[$0]?.contains(name) == true }) {
            // A number goes on where the last one ended, so that ten thousand equal comments take as many steps.
            numbers[base, default: 1] += 1
            name = "\(base)-\(numbers[base, default: 2])"
        }
        for family in families { names[family, default: []].insert(name) }
        return name
    }

    func outside(_ family: IPFamily) -> String? { outsides[family] }

    private func findOutside(_ family: IPFamily) -> String? {
        facts?.defaultRoute(family)?.interface
            ?? rules.lazy.filter { $0.family == family && ["MASQUERADE", "SNAT"].contains($0.target) }
            .compactMap { try? $0.interface("-o") }.first
    }

    /// The address that a masquerade on `interface` gives.
    func primaryAddress(_ family: IPFamily, on interface: String?) -> IPAddress? {
        facts?.interfaces.first { $0.name == interface }?.addresses.map(\.address).first {
            $0.family == family && !$0.isLinkLocal && !$0.isLoopback
        }
    }

    // MARK: Table filter

    private mutating func readFilter(_ rule: SavedRule) {
        let isReply = rule.conditions.contains { $0.option == "--ctstate" && !$0.isInverted && $0.value.isReplies }
        switch (rule.chain, rule.target) {
        case ("FORWARD", "ACCEPT") where isReply && rule.unknown == nil:
            taken += 1
        case ("FORWARD", "DROP"), ("FORWARD", "REJECT"):
            guard rule.conditions.isEmpty, rule.unknown == nil else {
                return leave(rule, "natfleet accepts what it translates before this rule could refuse it")
            }
            keep(rule, "natfleet accepts what it translates before it")
        default: keep(rule, "natfleet leaves it alone")
        }
    }

    private mutating func tellOfGuard() {
        for (_, entries) in masquerades.sorted(by: { $0.key < $1.key }) {
            guard let last = entries.last, !entries.contains(where: { $0.entry.sources == .any }) else { continue }
            note(
                last.rule,
                "private sources that no masquerade covers are dropped rather than sent out as they are; guard: false "
                    + "turns that off")
        }
    }
}

extension String {
    fileprivate var isReplies: Bool {
        let states = split(separator: ",")
        return states.contains("ESTABLISHED") && states.allSatisfy { ["RELATED", "ESTABLISHED"].contains($0) }
    }
}
