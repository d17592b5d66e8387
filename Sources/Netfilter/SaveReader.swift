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
    /// wrote. Of foreign rules only their number is kept, of foreign tables nothing.
    ///
    /// - Throws: on text that is cut off or is something else, and where the program says that it cannot show a table
    ///   that we write to: taking that for an empty one would be a lie.
    package init(parsing text: some StringProtocol) throws(SaveTextError) {
        var reader = SaveReader()
        // Bytes, since to Swift a carriage return, U+2028 and others end a line too; in an array, since all the rules
        // are read again and again.
        for line in Array(String(text).utf8).split(separator: UInt8(ascii: "\n"), omittingEmptySubsequences: false) {
            try reader.read(String(decoding: line, as: UTF8.self))
        }
        self = try reader.finish()
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

    mutating func read(_ line: String) throws(SaveTextError) {
        number += 1
        if line.utf8.allSatisfy({ $0 == UInt8(ascii: " ") }) { return }
        if line.hasPrefix("#") { return try checkRemark(line) }
        guard var current = section else {
            section = try begin(line)
            return
        }
        // Held once only: else each line would copy all that was read before it.
        section = nil
        if line == "COMMIT" {
            if let table = current.table { state[table] = current.contents }
            return
        }
        if line.hasPrefix(":") {
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

    private mutating func begin(_ line: String) throws(SaveTextError) -> Section {
        guard line.hasPrefix("*"), line.utf8.count > 1 else {
            throw fault("'\(line.prefix(60))' is neither a table nor a comment")
        }
        let name = String(line.dropFirst())
        guard seen.insert(name).inserted else { throw fault("table \(name.prefix(60)) comes twice") }
        return Section(name: String(name.prefix(60)), table: Table(rawValue: name))
    }

    /// `:CHAIN POLICY [packets:bytes]`
    private func declare(_ line: String, in section: inout Section) throws(SaveTextError) {
        let words = line.dropFirst().split(separator: " ")
        guard (2...3).contains(words.count), words.count == 2 || parseCounters(words[2]) != nil else {
            throw fault("'\(line.prefix(60))' does not declare a chain")
        }
        let name = String(words[0])
        guard section.table != nil, name.hasPrefix(ownedChainPrefix) else { return }
        guard section.contents.chains.updateValue([], forKey: name) == nil else {
            throw fault("chain \(name.prefix(60)) is declared twice")
        }
    }

    /// `[packets:bytes] -A CHAIN …`, or `-I CHAIN POSITION …`, which only `renderRestore` writes.
    private func rule(_ line: String, in section: inout Section) throws(SaveTextError) {
        var text = line[...]
        var counters: OwnedState.Counters?
        if text.utf8.first == UInt8(ascii: "["), let space = text.utf8.firstIndex(of: UInt8(ascii: " ")) {
            counters = parseCounters(text[..<space])
            guard counters != nil else { throw fault("'\(line.prefix(60))' has no counters in its brackets") }
            text = text[text.utf8.index(after: space)...]
        }
        let isInsert = text.hasPrefix("-I ")
        let head = text.utf8.split(separator: UInt8(ascii: " "), maxSplits: isInsert ? 3 : 2).map { Substring($0) }
        let place = isInsert && head.count == 4 ? Int(head[2]) : nil
        guard text.hasPrefix("-A ") || (place ?? 0) > 0, head.count >= 2 else {
            throw fault("'\(line.prefix(60))' is not a rule")
        }
        guard section.table != nil else { return }
        let chain = String(head[1])
        if chain.hasPrefix(ownedChainPrefix) {
            guard !isInsert, section.contents.chains[chain] != nil else {
                throw fault("chain \(chain.prefix(60)) has a rule and no declaration")
            }
            section.contents.chains[chain]?.append(OwnedState.Line(String(text), counters: counters))
            return
        }
        section.counts[chain, default: 0] += 1
        guard text.contains(ownedChainPrefix), let target = ruleTarget(text), target.hasPrefix(ownedChainPrefix) else {
            return
        }
        section.contents.jumps.append(
            OwnedState.Jump(
                from: chain,
                to: target,
                position: place ?? section.counts[chain, default: 1],
                line: isInsert ? "-A \(chain) \(head[3])" : String(text)
            )
        )
    }
}

/// `[12:3456]`
private func parseCounters(_ text: Substring) -> OwnedState.Counters? {
    guard text.utf8.first == UInt8(ascii: "["), text.utf8.last == UInt8(ascii: "]") else { return nil }
    let numbers = text.utf8.dropFirst().dropLast().split(
        separator: UInt8(ascii: ":"), omittingEmptySubsequences: false
    ).map { UInt64(Substring($0)) }
    guard numbers.count == 2, let packets = numbers[0], let bytes = numbers[1] else { return nil }
    return OwnedState.Counters(packets: packets, bytes: bytes)
}

/// What follows `-j` or `-g`; words in quotes, such as comments, are no options.
private func ruleTarget(_ rule: Substring) -> String? {
    var word: [UInt8] = []
    var previous = ""
    var isQuoted = false
    var wasQuoted = false
    var isEscaped = false
    for byte in Array(rule.utf8) + [UInt8(ascii: " ")] {
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
