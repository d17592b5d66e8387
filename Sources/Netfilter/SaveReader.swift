// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: natfleet contributors

/// Text that is not what `iptables-save` prints.
package struct SaveTextError: Error, Hashable, CustomStringConvertible {
    /// 1-based.
    package var line: Int
    /// What is wrong, lower case, without a final period.
    package var message: String
    /// The table that the program says it cannot show, nil for any other fault.
    package var hiddenTable: Table?

    package var description: String { "line \(line): \(message)" }
}

extension OwnedState {
    /// Reads the output of `iptables-save` or `ip6tables-save`, with or without counters, or what `renderRestore`
    /// wrote. Of foreign rules those are kept that stand below a jump, of foreign tables nothing.
    ///
    /// - Throws: on text that is cut off or is something else, and where the program says that it cannot show a table
    ///   that we write to: taking that for an empty one would be a lie.
    package init(parsing text: some StringProtocol) throws(SaveTextError) {
        var reader = SaveReader()
        // Bytes, since to Swift a carriage return, U+2028 and others end a line too; in an array, since there may be
        // megabytes of them.
        let bytes = Array(text.utf8)
        var start = 0
        while start <= bytes.count {
            let end = bytes[start...].firstIndex(of: UInt8(ascii: "\n")) ?? bytes.count
            try reader.read(bytes[start..<end])
            start = end + 1
        }
        self = try reader.finish()
    }
}

private typealias Bytes = ArraySlice<UInt8>

extension Bytes {
    /// As text; only of the first few bytes, for messages.
    fileprivate var excerpt: String { String(String(decoding: self, as: UTF8.self).prefix(60)) }

    fileprivate var text: String { String(decoding: self, as: UTF8.self) }

    /// What comes before the next blank, which is left out of both; blanks at the beginning are skipped.
    fileprivate mutating func takeWord() -> Bytes {
        while first == UInt8(ascii: " ") { removeFirst() }
        let end = firstIndex(of: UInt8(ascii: " ")) ?? endIndex
        defer { self = self[Swift.min(end + 1, endIndex)...] }
        return self[..<end]
    }
}

private struct SaveReader {
    private var state = OwnedState.none
    private var number = 0
    /// Between `*table` and COMMIT.
    private var section: Section?
    private var seen: Set<String> = []

    private struct Section {
        var name: String
        /// nil for a table that we do not write to.
        var table: Table?
        var contents = OwnedState.Contents()
        /// Rules read so far, by foreign chain.
        var counts: [String: Int] = [:]
    }

    mutating func read(_ line: Bytes) throws(SaveTextError) {
        number += 1
        guard let first = line.first(where: { $0 != UInt8(ascii: " ") }) else { return }
        if line.first == UInt8(ascii: "#") { return try checkRemark(line.text) }
        guard var current = section else {
            section = try begin(line)
            return
        }
        // Held once only: else each line would copy all that was read before it.
        section = nil
        if line.elementsEqual("COMMIT".utf8) {
            if let table = current.table { state[table] = current.contents }
            return
        }
        if first == UInt8(ascii: ":"), line.first == first {
            try declare(line, in: &current)
        } else {
            try rule(line, in: &current)
        }
        section = current
    }

    mutating func finish() throws(SaveTextError) -> OwnedState {
        if let section { throw fault("table \(section.name) has no COMMIT, the text is cut off") }
        return state
    }

    private func fault(_ message: String) -> SaveTextError { SaveTextError(line: number, message: message) }

    /// `# Table `nat' is incompatible, use 'nft' tool.` stands in place of a table that holds native nft rules.
    private func checkRemark(_ line: String) throws(SaveTextError) {
        guard line.hasPrefix("# Table `"), line.contains("is incompatible") else { return }
        let name = line.dropFirst("# Table `".count).prefix { $0 != "'" }
        guard let table = Table(rawValue: String(name)) else { return }
        var fault = fault("table \(name) holds native nft rules, iptables cannot show it")
        fault.hiddenTable = table
        throw fault
    }

    private mutating func begin(_ line: Bytes) throws(SaveTextError) -> Section {
        guard line.first == UInt8(ascii: "*"), line.count > 1 else {
            throw fault("'\(line.excerpt)' is neither a table nor a comment")
        }
        let name = line.dropFirst().text
        guard seen.insert(name).inserted else { throw fault("table \(name.prefix(60)) comes twice") }
        return Section(name: String(name.prefix(60)), table: Table(rawValue: name))
    }

    /// `:CHAIN POLICY [packets:bytes]`
    private func declare(_ line: Bytes, in section: inout Section) throws(SaveTextError) {
        var rest = line.dropFirst()
        let (name, policy, counters, surplus) = (
            rest.takeWord().text, rest.takeWord(), rest.takeWord(), rest.takeWord()
        )
        guard !policy.isEmpty, surplus.isEmpty, counters.isEmpty || parseCounters(counters) != nil else {
            throw fault("'\(line.excerpt)' does not declare a chain")
        }
        guard section.table != nil, name.hasPrefix(ownedChainPrefix) else { return }
        guard section.contents.chains.updateValue([], forKey: name) == nil else {
            throw fault("chain \(name.prefix(60)) is declared twice")
        }
    }

    /// `[packets:bytes] -A CHAIN …`, or `-I CHAIN POSITION …`, which only `renderRestore` writes.
    private func rule(_ line: Bytes, in section: inout Section) throws(SaveTextError) {
        var rule = line
        var counters: OwnedState.Counters?
        if rule.first == UInt8(ascii: "["), rule.contains(UInt8(ascii: " ")) {
            counters = parseCounters(rule.takeWord())
            guard counters != nil else { throw fault("'\(line.excerpt)' has no counters in its brackets") }
        }
        let isInsert = rule.starts(with: "-I ".utf8)
        var rest = rule
        _ = rest.takeWord()
        let chain = rest.takeWord().text
        let place = isInsert ? Int(rest.takeWord().text) ?? 0 : nil
        guard rule.starts(with: "-A ".utf8) || (place ?? 0) > 0 && !rest.isEmpty, !chain.isEmpty else {
            throw fault("'\(line.excerpt)' is not a rule")
        }
        guard section.table != nil else { return }
        if chain.hasPrefix(ownedChainPrefix) {
            let line = OwnedState.Line(rule.text, counters: counters)
            guard !isInsert, section.contents.chains[chain]?.append(line) != nil else {
                throw fault("chain \(chain.prefix(60)) has a rule and no declaration")
            }
            return
        }
        section.counts[chain, default: 0] += 1
        let text = rule.text
        guard text.contains(ownedChainPrefix), let target = ruleTarget(rule), target.hasPrefix(ownedChainPrefix) else {
            for index in section.contents.jumps.indices where section.contents.jumps[index].from == chain {
                section.contents.jumps[index].below.append(text)
            }
            return
        }
        section.contents.jumps.append(
            OwnedState.Jump(
                from: chain,
                to: target,
                position: place ?? section.counts[chain, default: 1],
                line: isInsert ? "-A \(chain) \(rest.text)" : text
            )
        )
    }
}

/// `[12:3456]`
private func parseCounters(_ text: Bytes) -> OwnedState.Counters? {
    guard text.first == UInt8(ascii: "["), text.last == UInt8(ascii: "]"), text.count > 2,
        let colon = text.firstIndex(of: UInt8(ascii: ":")),
        let packets = parseNumber(text[..<colon].dropFirst()),
        let bytes = parseNumber(text[colon...].dropFirst().dropLast())
    else { return nil }
    return OwnedState.Counters(packets: packets, bytes: bytes)
}

private func parseNumber(_ digits: Bytes) -> UInt64? {
    guard !digits.isEmpty else { return nil }
    var value: UInt64 = 0
    for byte in digits {
        guard byte >= UInt8(ascii: "0"), byte <= UInt8(ascii: "9") else { return nil }
        let (product, isTooLarge) = value.multipliedReportingOverflow(by: 10)
        let (sum, isTooLargeNow) = product.addingReportingOverflow(UInt64(byte - UInt8(ascii: "0")))
        guard !isTooLarge, !isTooLargeNow else { return nil }
        value = sum
    }
    return value
}

/// What follows `-j` or `-g`; words in quotes, such as comments, are no options.
private func ruleTarget(_ rule: Bytes) -> String? {
    var word: [UInt8] = []
    var previous = ""
    var isQuoted = false
    var wasQuoted = false
    var isEscaped = false
    for byte in rule + [UInt8(ascii: " ")] {
        if isEscaped {
            isEscaped = false
            word.append(byte)
        } else if isQuoted, byte == UInt8(ascii: "\\") {
            isEscaped = true
        } else if byte == UInt8(ascii: "\"") {
            isQuoted.toggle()
            wasQuoted = true
        } else if byte == UInt8(ascii: " "), !isQuoted {
            let text = String(decoding: word, as: UTF8.self)
            if previous == "-j" || previous == "-g" { return text }
            previous = wasQuoted ? "" : text
            wasQuoted = false
            word = []
        } else {
            word.append(byte)
        }
    }
    return nil
}
