// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: natfleet contributors

import NATPolicy
import PolicyYAML
import Testing

/// One way to write a wrong policy, and the one fault that is reported for it.
struct WrongPolicy: CustomTestStringConvertible, Sendable {
    let what: String
    let text: String
    let line: Int
    let column: Int
    let path: String
    let message: String

    init(_ what: String, _ text: String, _ line: Int, _ column: Int, _ path: String, _ message: String) {
        self.what = what
        self.text = text
        self.line = line
        self.column = column
        self.path = path
        self.message = message
    }

    var testDescription: String { what }

    static let all = text + specs + masquerades + forwards

    /// Five lines: what every valid policy begins with, and a valid policy itself.
    static let header = """
        apiVersion: natfleet/v1
        kind: NATPolicy
        metadata: {name: web}
        spec:
          selector: {instances: [i-1]}

        """

    static func document(_ text: String) -> String { text }

    /// Lines of `spec` after the selector, from line 6 column 3 on.
    static func spec(_ lines: String) -> String {
        header + lines.split(separator: "\n").map { "  \($0)\n" }.joined()
    }

    /// Masquerades, one a line, from line 7 column 8 on.
    static func masquerade(_ entries: String) -> String { header + "  masquerade:\n" + list(entries) }

    /// Port forwards, one a line, from line 7 column 8 on.
    static func forward(_ entries: String) -> String { header + "  dnat:\n" + list(entries) }

    private static func list(_ entries: String) -> String {
        entries.split(separator: "\n").map { "    - {\($0)}\n" }.joined()
    }
}

struct WrongPolicyTests {
    @Test(arguments: WrongPolicy.all)
    func aWrongPolicyIsRefusedWithItsPlaceAndItsMessage(_ wrong: WrongPolicy) throws {
        let readings = readPolicies(name: "web.yaml", text: wrong.text)
        #expect(readings.diagnostics.count == 1, "\(readings.diagnostics)")
        let fault = try #require(readings.diagnostics.first)
        #expect(fault.file == "web.yaml")
        #expect(fault.line == wrong.line)
        #expect(fault.column == wrong.column)
        #expect(fault.path == wrong.path)
        #expect(fault.message == wrong.message.replacing("p.yaml", with: "web.yaml"))
    }

    @Test(arguments: WrongPolicy.all)
    func everyFaultNamesARemedy(_ wrong: WrongPolicy) {
        for fault in readPolicies(name: "web.yaml", text: wrong.text).diagnostics {
            #expect(!fault.remedy.isEmpty)
            #expect(!fault.remedy.hasSuffix("."))
            #expect(!fault.message.hasSuffix("."))
            #expect(fault.remedy != fault.message)
        }
    }

    @Test
    func theTableHasEachKindOnce() {
        #expect(WrongPolicy.all.count >= 100)
        #expect(Set(WrongPolicy.all.map(\.what)).count == WrongPolicy.all.count)
        #expect(Set(WrongPolicy.all.map(\.text)).count == WrongPolicy.all.count)
    }

    @Test
    func theHeaderOfTheTableIsAValidPolicy() {
        #expect(readPolicies(name: "web.yaml", text: WrongPolicy.header).diagnostics.isEmpty)
    }

    @Test
    func allFaultsOfADocumentComeAtOnceAndInOrder() {
        let text = """
            apiVersion: natfleet/v2
            kind: NATPolicy
            metadata: {name: "a b"}
            spec:
              selector: {}
              guard: maybe
              probes: []
              masquerade:
                - {name: egress, sources: [10.0.0.1/8, 300.0.0.0/8]}
              dnat:
                - {name: web, protocol: sctp, port: 0, to: "10.0.1.1"}
            """
        let faults = readPolicies(name: "web.yaml", text: text).diagnostics
        #expect(faults.map(\.line) == [1, 3, 5, 6, 7, 9, 9, 11, 11, 11])
        #expect(
            faults.map(\.path) == [
                "apiVersion", "metadata.name", "spec.selector", "spec.guard", "spec.probes",
                "spec.masquerade[0].sources[0]", "spec.masquerade[0].sources[1]", "spec.dnat[0].protocol",
                "spec.dnat[0].port", "spec.dnat[0].to",
            ])
    }

    @Test
    func faultsOfSeveralDocumentsComeTogetherAndOneWrongDocumentLeavesTheOthers() {
        let text =
            WrongPolicy.header + "---\n" + WrongPolicy.header.replacing("web", with: "-x") + "---\n"
            + WrongPolicy.header.replacing("web", with: "www") + "---\n: :\n"
        let readings = readPolicies(name: "web.yaml", text: text)
        #expect(readings.documents.map(\.name) == ["web", "www"])
        #expect(readings.diagnostics.map(\.line) == [9, 19])
    }

    @Test
    func aPolicyIsOnceAmongAllFiles() {
        let files = ["a.yaml", "b.yaml"].map { PolicyText(name: $0, text: WrongPolicy.header) }
        let readings = readPolicies(files)
        #expect(readings.diagnostics.map(\.file) == ["b.yaml"])
        #expect(readings.diagnostics.map(\.message) == ["policy 'web' is also in a.yaml line 3"])
    }

    @Test
    func everyKeyThatIsNotDueYetIsRefusedInThoseWords() {
        let entries =
            ["probes: []", "tests: []", "rollout: {}"].map(WrongPolicy.spec)
            + [WrongPolicy.forward(#"name: web, protocol: tcp, port: 80, to: "10.0.1.1:80", drain: true"#)]
        for text in entries {
            let messages = readPolicies(name: "web.yaml", text: text).diagnostics.map(\.message)
            #expect(messages.count == 1 && messages.allSatisfy { $0.contains("not supported yet") }, "\(messages)")
        }
    }
}
