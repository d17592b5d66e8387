// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: natfleet contributors

/// Someone else's text as part of a message: in single quotes, on one line, bounded, and without anything that could
/// steer a terminal or hide what it says.
package func quoted(_ text: some StringProtocol, limit: Int = 64) -> String { "'\(shown(text, limit: limit))'" }

/// `quoted` without the quotes, for a place where the text is not a part of a sentence.
package func shown(_ text: some StringProtocol, limit: Int = 64) -> String {
    var shown = ""
    for (index, scalar) in text.unicodeScalars.enumerated() {
        guard index < limit else { return shown + "..." }
        switch scalar.properties.generalCategory {
        case .control, .format, .lineSeparator, .paragraphSeparator, .privateUse, .surrogate, .unassigned:
            shown += "\\u{\(String(scalar.value, radix: 16))}"
        default:
            shown.unicodeScalars.append(scalar)
        }
    }
    return shown
}
