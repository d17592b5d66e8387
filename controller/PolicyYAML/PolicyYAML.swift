// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: natfleet contributors

package import NATPolicy

/// A file of policy documents: YAML, several documents a file, or JSON, which the same parser reads.
///
/// Goal: whatever is in the file, the answer is documents or faults with a place and a remedy, soon. Approach: size first, then
/// characters, then `PolicyCharacters` hides what the parser must not act upon, then Yams, then NATPolicy's
/// reader. Invariants: no anchor, alias or tag ever reaches Yams; nothing crashes or hangs on input.
package struct PolicyText: Hashable, Sendable {
    /// As the operator named it; `-` is standard input.
    package var name: String
    package var text: String

    /// In bytes: 10,000 generously written port forwards, about two seconds of parsing in a debug build.
    package static let sizeLimit = 4 << 20

    package static let documentLimit = 1000

    package init(name: String, text: String) {
        self.name = name
        self.text = text
    }
}

/// A valid policy and the place of its name.
package struct LocatedPolicy: Hashable, Sendable {
    package var document: PolicyDocument
    package var file: String
    package var mark: PolicyNode.Mark
}

/// What reading files gave. With diagnostics present nothing may be done with the policies beyond showing them.
package struct PolicyReadings: Hashable, Sendable {
    /// The valid ones, in the order of the files.
    package var policies: [LocatedPolicy] = []
    package var diagnostics: [Diagnostic] = []

    package var documents: [PolicyDocument] { policies.map(\.document) }
}

/// Parses and validates all documents of one file.
package func readPolicies(name: String, text: String) -> PolicyReadings {
    readPolicies([PolicyText(name: name, text: text)])
}

/// Parses and validates all documents of some files; a policy that occurs twice among them is a fault.
package func readPolicies(_ files: [PolicyText]) -> PolicyReadings {
    var readings = PolicyReadings()
    var seen: [String: LocatedPolicy] = [:]
    for file in files {
        let parsed = parsePolicyText(file)
        var diagnostics = parsed.diagnostics
        for node in parsed.documents where diagnostics.count < diagnosticLimit {
            let reading = readPolicy(node, file: file.name)
            diagnostics += reading.diagnostics
            guard let document = reading.document else { continue }
            let policy = LocatedPolicy(document: document, file: file.name, mark: reading.mark)
            if let first = seen[document.name] {
                diagnostics.append(
                    Diagnostic(
                        file: file.name, line: reading.mark.line, column: reading.mark.column, path: "metadata.name",
                        message: "policy '\(document.name)' is also in \(first.file) line \(first.mark.line)",
                        remedy: "keep one of them, or give it another name"))
            } else {
                seen[document.name] = policy
                readings.policies.append(policy)
            }
        }
        readings.diagnostics += diagnostics.prefix(diagnosticLimit).sorted {
            ($0.line, $0.column) < ($1.line, $1.column)
        }
    }
    return readings
}

/// Of one file; the next try shows the others.
private let diagnosticLimit = 1000
