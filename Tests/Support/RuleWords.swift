// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: natfleet contributors

/// The words of a rule as iptables-restore takes them: quotes group, a backslash inside them takes the next character.
package func ruleWords(_ line: String) -> [String] {
    var words: [String] = []
    var word = ""
    var isQuoted = false
    var isStarted = false
    var isEscaped = false
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
