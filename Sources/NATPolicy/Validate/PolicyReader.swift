// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: natfleet contributors

import NetAddress

/// Reads one document and collects everything that is wrong with it.
///
/// Goal: an author sees all faults at once, each with its place and what to do. Approach: every function reads one kind of value; where
/// it can't, it notes a fault and returns nil, and its caller goes on with the next value. Invariant: a document comes
/// out only when there was no fault, so a nil in between never turns into a default.
struct PolicyReader {
    /// Enough for a person; a file of garbage has a fault in each line.
    static let diagnosticLimit = 1000

    let file: String
    private(set) var diagnostics: [Diagnostic] = []

    init(file: String) { self.file = file }

    mutating func refuse(_ message: @autoclosure () -> String, at place: Place, remedy: @autoclosure () -> String) {
        guard diagnostics.count < Self.diagnosticLimit else { return }
        diagnostics.append(
            Diagnostic(
                file: file, line: place.mark.line, column: place.mark.column, path: place.path, message: message(),
                remedy: remedy()))
    }

    mutating func refuse(_ error: AddressError, at place: Place) {
        refuse(error.message, at: place, remedy: error.remedy)
    }
}

/// A value of a document and the way to it.
struct Place {
    var node: PolicyNode
    /// `spec.dnat[2].port`; empty for the document.
    var path: String

    var mark: PolicyNode.Mark { node.mark }

    func child(_ key: String, _ node: PolicyNode) -> Place {
        Place(node: node, path: path.isEmpty ? shown(key) : "\(path).\(shown(key))")
    }

    func element(_ index: Int, _ node: PolicyNode) -> Place { Place(node: node, path: "\(path)[\(index)]") }
}

/// A value that was read, with its place for what is checked later.
struct Placed<Value> {
    var value: Value
    var place: Place
}
