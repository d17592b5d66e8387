// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: natfleet contributors

package import NATPolicy
import Yams

/// Parses a file into the trees of its documents. Documents that parse are returned beside the faults of those that don't;
/// after a syntax fault the rest of the file can't be understood and is left out.
package func parsePolicyText(_ file: PolicyText) -> (documents: [PolicyNode], diagnostics: [Diagnostic]) {
    func refusal(_ message: String, remedy: String) -> Diagnostic {
        Diagnostic(file: file.name, line: 1, column: 1, path: "", message: message, remedy: remedy)
    }
    let size = file.text.utf8.count
    guard size <= PolicyText.sizeLimit else {
        let limit = "\(PolicyText.sizeLimit >> 20) MiB"
        return (
            [],
            [
                refusal(
                    "the file has \(size) bytes, more than \(limit)", remedy: "split it into files of at most \(limit)")
            ]
        )
    }
    let characters = PolicyCharacters(file)
    guard characters.diagnostics.isEmpty else { return ([], characters.diagnostics) }

    var documents: [PolicyNode] = []
    var diagnostics: [Diagnostic] = []
    do {
        // The basic resolver takes every scalar for text. What is a number is for NATPolicy to say; to ask a dozen regular
        // expressions for each key, as the default one does, takes most of the time.
        let parser = try Parser(yaml: characters.text, resolver: .basic, encoding: .utf8)
        while let root = try parser.nextRoot() {
            guard documents.count < PolicyText.documentLimit else {
                diagnostics.append(
                    refusal(
                        "the file has more than \(PolicyText.documentLimit) documents",
                        remedy: "split it into several files"))
                break
            }
            var converter = NodeConverter(file: file.name, isDisguised: characters.isDisguised)
            let document = converter.convert(root, depth: 0)
            diagnostics += converter.diagnostics
            // `---` at the end of a file, or twice, makes a document of nothing.
            if converter.diagnostics.isEmpty, document.content != .scalar("", isPlain: true) {
                documents.append(document)
            }
        }
    } catch let error as YamlError {
        diagnostics.append(syntaxFault(error, file: file.name, text: characters.text))
    } catch {
        diagnostics.append(refusal("can't be parsed: \(error)", remedy: "check that it is YAML or JSON"))
    }
    if documents.isEmpty, diagnostics.isEmpty {
        diagnostics.append(
            refusal("there is no policy in this file", remedy: "begin with apiVersion: \(PolicyDocument.apiVersion)"))
    }
    return (documents, diagnostics)
}

/// Yams' tree to ours.
private struct NodeConverter {
    /// Deeper than any policy; Yams itself stops at 1,000.
    static let depthLimit = 32

    let file: String
    let isDisguised: Bool
    var diagnostics: [Diagnostic] = []

    init(file: String, isDisguised: Bool) {
        self.file = file
        self.isDisguised = isDisguised
    }

    mutating func convert(_ node: Node, depth: Int) -> PolicyNode {
        let mark = node.mark.map { PolicyNode.Mark($0) } ?? PolicyNode.Mark(line: 1, column: 1)
        guard depth < Self.depthLimit else {
            if diagnostics.isEmpty {
                refuse(
                    "is nested more than \(Self.depthLimit) levels deep", mark,
                    remedy: "check the brackets and the indentation")
            }
            return PolicyNode(.scalar("", isPlain: true), mark: mark)
        }
        switch node {
        case .scalar(let scalar):
            return PolicyNode(convert(scalar, mark), mark: mark)
        case .sequence(let sequence):
            return PolicyNode(.sequence(sequence.map { convert($0, depth: depth + 1) }), mark: mark)
        case .mapping(let mapping):
            let pairs = mapping.map {
                PolicyNode.Pair(key: convert($0.key, depth: depth + 1), value: convert($0.value, depth: depth + 1))
            }
            return PolicyNode(.mapping(pairs), mark: mark)
        case .alias:
            refuse("aliases are not allowed in a policy", mark, remedy: "write the value out")
            return PolicyNode(.scalar("", isPlain: true), mark: mark)
        }
    }

    private mutating func convert(_ scalar: Node.Scalar, _ mark: PolicyNode.Mark) -> PolicyNode.Content {
        let isPlain = scalar.style == .plain
        guard isDisguised else { return .scalar(scalar.string, isPlain: isPlain) }
        if isPlain, let first = scalar.string.unicodeScalars.first, let indicator = PolicyCharacters.original(first) {
            let fault = indicatorFault(indicator)
            refuse(fault.message, mark, remedy: fault.remedy)
        }
        return .scalar(PolicyCharacters.restored(scalar.string), isPlain: isPlain)
    }

    private mutating func refuse(_ message: String, _ mark: PolicyNode.Mark, remedy: String) {
        diagnostics.append(
            Diagnostic(file: file, line: mark.line, column: mark.column, path: "", message: message, remedy: remedy))
    }
}

func indicatorFault(_ indicator: Unicode.Scalar) -> (message: String, remedy: String) {
    switch indicator {
    case "&":
        (
            "anchors (&) are not allowed in a policy",
            "write the value out wherever it is needed, or put text that begins with & in quotes"
        )
    case "*":
        ("aliases (*) are not allowed in a policy", "write the value out, or put text that begins with * in quotes")
    default: ("tags (!) are not allowed in a policy", "remove the tag, or put text that begins with ! in quotes")
    }
}
