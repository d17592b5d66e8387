// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: natfleet contributors

import FleetAPI
import FleetModel
import Foundation
import Testing

/// apply, delete and rollout.
struct ChangeTests {
    @Test func appliesWhatComesOnStandardInput() async throws {
        let fleet = FakeFleet(try exampleFleet())
        let text = policyText(port: 8003) + "---\n" + policyText("base", port: 9000)
        let run = try await natfleet(["apply", "-f", "-", "-m", "open 8003"], fleet, input: text)
        #expect(
            run
                == CommandRun(
                    code: 0,
                    output: """
                        policy/web-egress updated (revision 3, 3 instances)
                        policy/base unchanged (revision 1, 3 instances)

                        """,
                    errors: "see it arrive with: natfleet get instances\n"))
        #expect(fleet.snapshot.revisions["web-egress"]?.first?.message == "open 8003")
    }

    @Test func appliesFilesAndFoldersInOrder() async throws {
        let folder = try TemporaryFolder()
        try folder.write(policyText("b"), to: "policies/b.yml")
        try folder.write(policyText("a"), to: "policies/a.yaml")
        try folder.write("{", to: "policies/notes.txt")
        try folder.write("{", to: "policies/.hidden.yaml")
        let single = try folder.write(policyText("c"), to: "c.policy")
        let run = try await natfleet(["apply", "-f", single, "-f", "\(folder.path)/policies/", "-o", "json"])
        #expect(run.code == 0)
        let answer = try WireJSON.decode(ApplyResponse.self, from: Data(run.output.utf8))
        #expect(answer.policies.map(\.name) == ["c", "a", "b"])
        #expect(
            run.errors
                == ["c", "a", "b"].map {
                    "policy/\($0) selects no instance; compare its selector with: natfleet get instances -o yaml\n"
                }.joined())
    }

    @Test func showsEveryFaultWithItsPlaceAndRemedy() async throws {
        let fleet = FakeFleet(try exampleFleet())
        let text = policyText(port: 0).replacing("10.0.0.0/16", with: "10.0.0.1/16")
        for (line, error) in [
            ("apply -f -", "error: the policies are not valid\n  fix: mend them\n"),
            (
                "delete -f -",
                "error: 2 faults in policies; nothing was done\n  fix: mend what is listed above, then try again\n"
            ),
        ] {
            let run = try await natfleet(line, fleet, input: text)
            #expect(run.code == 2)
            #expect(run.output == "")
            #expect(
                run.errors == """
                    -:12:17: spec.masquerade[0].sources[0]: '10.0.0.1/16' has host bits set
                      fix: write 10.0.0.0/16 for the network
                    -:16:13: spec.dnat[0].port: '0' is not a port between 1 and 65535, nor a range of them
                      fix: write it like 8001 or "8000-8019"

                    """ + error)
        }
    }

    struct BadFile: Sendable, CustomTestStringConvertible {
        var line: String
        var errors: String

        var testDescription: String { line }
    }

    @Test(arguments: [
        BadFile(
            line: "-f DIR/none.yaml",
            errors: "error: there is no file DIR/none.yaml\n  fix: name a policy file, a folder, or -\n"),
        BadFile(
            line: "-f DIR/empty",
            errors: "error: no policy files in DIR/empty\n  fix: name them .yaml, .yml or .json, or name a file\n"),
        BadFile(
            line: "-f DIR/a.yaml -f DIR/a.yaml",
            errors: "error: DIR/a.yaml is named twice\n  fix: give each file once\n"),
        BadFile(
            line: "-f - -f -", errors: "error: standard input is named twice\n  fix: name - once\n"),
        BadFile(
            line: "-f DIR/latin1.yaml", errors: "error: DIR/latin1.yaml is not UTF-8 text\n  fix: save it as UTF-8\n"),
    ])
    func saysWhichFileItCannotRead(_ example: BadFile) async throws {
        let folder = try TemporaryFolder()
        try folder.write(policyText(), to: "a.yaml")
        try folder.write("", to: "empty/notes.txt")
        let latin1 = try folder.write("", to: "latin1.yaml")
        try Data([0x6e, 0xe9, 0x0a]).write(to: URL(filePath: latin1))
        for verb in ["apply", "delete"] {
            let run = try await natfleet("\(verb) \(example.line.replacing("DIR", with: folder.path))")
            #expect(
                run == CommandRun(code: 2, output: "", errors: example.errors.replacing("DIR", with: folder.path)))
        }
    }

    @Test(arguments: ["delete policy web-egress base", "delete pol web-egress base", "delete -f -"])
    func deletesByNameAndByFile(_ line: String) async throws {
        let fleet = FakeFleet(try exampleFleet())
        let run = try await natfleet(line, fleet, input: policyText() + "---\n" + policyText("base", port: 1))
        #expect(
            run
                == CommandRun(
                    code: 0,
                    output: """
                        policy/web-egress deleted (revision 2, 1 instance)
                        policy/base deleted (revision 1, 1 instance)

                        """, errors: ""))
        #expect(fleet.snapshot.current.isEmpty)
    }

    @Test func deletesAllOrNone() async throws {
        let fleet = FakeFleet(try exampleFleet())
        let run = try await natfleet("delete policy web-egress nobody", fleet)
        #expect(run.code == 3)
        #expect(run.errors == "error: there is no policy 'nobody'\n  fix: choose another\n")
        #expect(fleet.snapshot.current.count == 2)
    }

    @Test(arguments: [
        ("rollout undo web-egress", 1), ("rollout undo policy web-egress", 1),
        ("rollout undo web-egress --to-revision 1", 1),
    ])
    func undoesToAnOldRevision(_ line: String, _ target: Int) async throws {
        let fleet = FakeFleet(try exampleFleet())
        let run = try await natfleet(line, fleet)
        #expect(
            run
                == CommandRun(
                    code: 0, output: "policy/web-egress updated (revision 3, 3 instances)\n",
                    errors: "see it arrive with: natfleet get instances\n"))
        let revisions = try #require(fleet.snapshot.revisions["web-egress"])
        #expect(revisions.first?.message == "undo to revision \(target)")
        #expect(revisions.first?.document == revisions.last?.document)
    }

    @Test func saysThatTheRevisionIsNotThere() async throws {
        let run = try await natfleet("rollout undo web-egress --to-revision 9", FakeFleet(try exampleFleet()))
        #expect(run.code == 3)
        #expect(run.errors == "error: policy web-egress has no revision 9\n  fix: choose another\n")
    }
}
