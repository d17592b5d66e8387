// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: natfleet contributors

import NetAddress

/// One line of `iptables-save`, read for its meaning: what a hand-made NAT uses, and the name of whatever else is in it.
struct SavedRule {
    struct Condition {
        /// `-s`, `-d`, `-i`, `-o`, `-p`, `--dport`, `--dports`, `--ctstate`.
        let option: String
        let value: String
        let isInverted: Bool
    }

    let place: ImportRemark.Place
    let family: IPFamily
    let table: String
    let chain: String
    /// Without counters.
    let text: String
    private(set) var conditions: [Condition] = []
    private(set) var comment: String?
    /// Empty for a rule that only counts.
    private(set) var target = ""
    private(set) var targetWords: [String] = []
    /// The first word that is none of the above; such a rule cannot be taken over.
    private(set) var unknown: String?

    private static let spellings = [
        "--source": "-s", "--src": "-s", "--destination": "-d", "--dst": "-d", "--in-interface": "-i",
        "--out-interface": "-o", "--protocol": "-p", "--destination-port": "--dport",
        "--destination-ports": "--dports", "--state": "--ctstate",
    ]
    private static let options: Set = ["-s", "-d", "-i", "-o", "-p", "--dport", "--dports", "--ctstate"]
    private static let matches: Set = ["tcp", "udp", "multiport", "comment", "conntrack", "state"]

    /// nil when the line appends no rule.
    init?(_ line: String, at place: ImportRemark.Place, family: IPFamily, table: String) {
        var words = ruleWords(line)[...]
        if words.first?.hasPrefix("[") == true { words.removeFirst() }
        guard words.popFirst() == "-A", let chain = words.popFirst() else { return nil }
        self.place = place
        self.family = family
        self.table = table
        self.chain = chain
        text = String(line[(line.firstRange(of: "-A")?.lowerBound ?? line.startIndex)...])
        read(words)
    }

    private mutating func read(_ words: ArraySlice<String>) {
        var words = words
        var isInverted = false
        while let word = words.popFirst() {
            let option = Self.spellings[word] ?? word
            switch option {
            case "!": isInverted = true
            case _ where Self.options.contains(option):
                guard let value = words.popFirst() else { return refuse(word) }
                conditions.append(Condition(option: option, value: value, isInverted: isInverted))
                isInverted = false
            case "-m", "--match":
                guard let name = words.popFirst() else { return refuse(word) }
                if !Self.matches.contains(name) { refuse("-m \(name)") }
            case "--comment":
                guard let value = words.popFirst() else { return refuse(word) }
                comment = value
            case "-c": words = words.dropFirst(2)
            case "-j", "--jump", "-g", "--goto":
                target = words.popFirst() ?? ""
                targetWords = Array(words)
                if isInverted { refuse("!") }
                // A comment may stand behind the target, as people type it.
                if let index = targetWords.firstIndex(of: "--comment"), index + 1 < targetWords.count {
                    comment = targetWords[index + 1]
                    targetWords.removeSubrange(index...index + 1)
                    if index > 1, targetWords[index - 2...index - 1] == ["-m", "comment"] {
                        targetWords.removeSubrange(index - 2...index - 1)
                    }
                }
                return
            default: refuse(word)
            }
        }
    }

    private mutating func refuse(_ word: String) { unknown = unknown ?? word }

    // MARK: What a rule says

    /// The one condition of `option`; nil when there is none.
    ///
    /// - Throws: `Unusable` when there are two, or it is inverted.
    func value(_ option: String) throws(Unusable) -> String? {
        let all = conditions.filter { $0.option == option }
        guard let first = all.first else { return nil }
        guard all.count == 1 else { throw Unusable("it has \(option) twice") }
        guard !first.isInverted else { throw Unusable("natfleet has no '! \(option)' here") }
        return first.value
    }

    func network(_ option: String) throws(Unusable) -> CIDR? {
        guard let text = try value(option) else { return nil }
        let network = try parsed(text)
        return network.isEverything ? nil : network
    }

    /// `! -d`, as a network.
    func invertedDestination() throws(Unusable) -> CIDR? {
        let inverted = conditions.filter { $0.option == "-d" && $0.isInverted }
        guard let first = inverted.first else { return nil }
        guard inverted.count == 1 else { throw Unusable("it has '! -d' twice") }
        return try parsed(first.value)
    }

    private func parsed(_ text: String) throws(Unusable) -> CIDR {
        guard let network = try? CIDR(text) else { throw Unusable("\(quoted(text)) is not a network") }
        guard network.family == family else {
            throw Unusable("\(network) is \(network.family.label) among \(family.label) rules")
        }
        return network
    }

    func interface(_ option: String) throws(Unusable) -> String? {
        guard let name = try value(option) else { return nil }
        guard !name.hasSuffix("+") else { throw Unusable("natfleet names one interface, not all that begin alike") }
        return name
    }

    /// Which of `options` it has; nil when none.
    func first(of options: [String]) -> String? {
        conditions.first { options.contains($0.option) }?.option
    }
}

/// Why a rule cannot be taken over, lower case, without a final period.
struct Unusable: Error {
    let reason: String

    init(_ reason: String) { self.reason = reason }
}

/// The words of a rule as iptables-restore takes them: quotes group, a backslash inside them takes the next character.
private func ruleWords(_ line: String) -> [String] {
    var words: [String] = []
    var word = ""
    var (isQuoted, isStarted, isEscaped) = (false, false, false)
    for scalar in line.unicodeScalars {
        switch scalar {
        case _ where isEscaped:
            word.unicodeScalars.append(scalar)
            isEscaped = false
        case "\\" where isQuoted: isEscaped = true
        case "\"":
            isQuoted.toggle()
            isStarted = true
        case " " where !isQuoted, "\t" where !isQuoted:
            if isStarted { words.append(word) }
            (word, isStarted) = ("", false)
        default:
            word.unicodeScalars.append(scalar)
            isStarted = true
        }
    }
    return isStarted ? words + [word] : words
}
