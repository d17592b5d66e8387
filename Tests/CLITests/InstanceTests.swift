// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: natfleet contributors

import FleetAPI
import FleetModel
import Foundation
import Testing

/// instance label, cordon, uncordon, retry and forget; events.
struct InstanceTests {
    @Test func labels() async throws {
        let fleet = FakeFleet(try exampleFleet())
        let run = try await natfleet("instance label i-0a vpc=lab failover-group=b az-", fleet)
        #expect(
            run
                == CommandRun(
                    code: 0,
                    output: """
                        instance/i-0a labelled failover-group=b,vpc=lab
                        policy/lab selects it now, at revision 4

                        """, errors: "see it arrive with: natfleet get instance i-0a --watch\n"))
        let left = try await natfleet("instance label i-0b vpc-", fleet)
        #expect(
            left.output == "instance/i-0b labelled <none>\npolicy/web-egress selects it no longer\n")
        let json = try await natfleet("instance label i-0b x=y -o json", fleet)
        #expect(json.errors == "")
        let answer = try WireJSON.decode(LabelResponse.self, from: Data(json.output.utf8))
        #expect(answer.instance.labels == ["x": "y"])
    }

    @Test(arguments: ["cordon", "uncordon"]) func cordons(_ verb: String) async throws {
        let fleet = FakeFleet(try exampleFleet())
        fleet.change { $0.instances[0].cordoned = verb == "uncordon" }
        let run = try await natfleet("instance \(verb) i-0c i-0a", fleet)
        // What i-0c should run has not arrived there.
        let note = verb == "uncordon" ? "see it arrive with: natfleet get instances i-0c i-0a --watch\n" : ""
        #expect(
            run == CommandRun(code: 0, output: "instance/i-0c \(verb)ed\ninstance/i-0a \(verb)ed\n", errors: note))
        #expect(fleet.snapshot.instances[0].cordoned == (verb == "cordon"))
        let json = try await natfleet("instance \(verb) i-0d -o json", fleet)
        let answer = try WireJSON.decode([Instance].self, from: Data(json.output.utf8))
        #expect(answer.map(\.id) == ["i-0d"])
        #expect(answer.map(\.cordoned) == [verb == "cordon"])
    }

    @Test func hasThemTryAgain() async throws {
        let fleet = FakeFleet(try exampleFleet())
        let named = try await natfleet("instance retry i-0b", fleet)
        #expect(
            named
                == CommandRun(
                    code: 0, output: "instance/i-0b tries again\n",
                    errors: "see how it ends with: natfleet get instances i-0b --watch\n"))
        // i-0b is the only one of three in prod that was refused something.
        let selected = try await natfleet("instance retry -l vpc=prod", fleet)
        #expect(selected.output == named.output)
        #expect(selected.errors == "2 instances with vpc=prod passed over: nothing to try again\n" + named.errors)
        fleet.change { $0.instances[2].health = .offline }
        #expect(
            try await natfleet("instance retry i-0b", fleet).errors
                == "instance/i-0b is offline: it tries when it is back\n" + named.errors)
        let json = try await natfleet("instance retry i-0b -o json", fleet)
        #expect(try WireJSON.decode([Instance].self, from: Data(json.output.utf8)).map(\.id) == ["i-0b"])
    }

    @Test(arguments: [
        ("i-0a", 4, "instance 'i-0a' has nothing to try again: it runs what it should\n"),
        ("-l az=a", 4, "none of 1 instance with az=a has anything to try again\n"),
        ("-l vpc=prod -l az=b", 3, "there is no instance with vpc=prod,az=b\n"),
    ])
    func saysWhereThereIsNothingToTryAgain(_ words: String, _ code: Int32, _ error: String) async throws {
        let run = try await natfleet("instance retry \(words)", FakeFleet(try exampleFleet()))
        #expect(run.code == code && run.output.isEmpty)
        #expect(run.errors.hasPrefix("error: \(error)"), "\(run.errors)")
    }

    @Test func forgets() async throws {
        let fleet = FakeFleet(try exampleFleet())
        let run = try await natfleet("instance forget i-0d i-0x", fleet)
        #expect(
            run
                == CommandRun(
                    code: 3, output: "instance/i-0d forgotten\n",
                    errors: "error: there is no instance 'i-0x'\n  fix: choose another\n"))
        #expect(!fleet.snapshot.instances.contains { $0.id == "i-0d" })
        #expect(
            try await natfleet("instance forget i-0c", fleet)
                == CommandRun(
                    code: 0, output: "instance/i-0c forgotten\n",
                    errors: "let it come back with: natfleet token create --instance ID\n"))
    }

    @Test(arguments: ["label", "cordon", "uncordon", "retry", "forget"])
    func saysWhatIsNotThere(_ verb: String) async throws {
        let run = try await natfleet("instance \(verb) nobody \(verb == "label" ? "a=b" : "")")
        #expect(
            run
                == CommandRun(
                    code: 3, output: "", errors: "error: there is no instance 'nobody'\n  fix: choose another\n"))
    }

    @Test(arguments: [
        ("vpc", "'vpc' is not a label: write KEY=VALUE"), ("a=1 a=2", "label 'a' is given twice"),
        ("-", "'-' is not a label"),
    ])
    func refusesWhatIsNoLabel(_ labels: String, _ message: String) async throws {
        let run = try await natfleet("instance label i-0a \(labels)", FakeFleet(try exampleFleet()))
        #expect(run.code == 2)
        #expect(run.errors.contains(message), "\(run.errors)")
        #expect(run.errors.hasSuffix("  fix: run 'natfleet instance label --help'\n"))
    }

    static let newest = "5m    policy.applied      policy/web-egress   operator:admin   revision 2\n"

    @Test(arguments: [
        ("events --since 1h", 1), ("events --since 2026-01-02T00:00:00Z", 1), ("events --since 10d", 2),
        ("events --actor admin", 1), ("events --actor operator:admin --limit 9", 1), ("events --limit 1", 1),
        ("events", 2), ("get events --since 1h --actor admin", 1),
    ])
    func filtersEvents(_ line: String, _ rows: Int) async throws {
        let run = try await natfleet(line, FakeFleet(try exampleFleet()))
        #expect(run.code == 0)
        #expect(run.errors == "")
        #expect(run.output.split(separator: "\n").count == rows + 1, "\(run.output)")
    }

    @Test func saysThatNothingHappened() async throws {
        let run = try await natfleet("events --actor nobody -o json", FakeFleet(try exampleFleet()))
        #expect(run == CommandRun(code: 0, output: "[\n\n]\n", errors: "no events\n"))
    }

    @Test(arguments: ["--since yesterday", "--since 0s", "--limit 1001"])
    func refusesWhatIsNoFilter(_ options: String) async throws {
        let run = try await natfleet("events \(options)", FakeFleet(try exampleFleet()))
        #expect(run.code == 2)
        #expect(run.errors.hasSuffix("  fix: run 'natfleet events --help'\n"))
    }
}
