// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: natfleet contributors

import FleetAPI
import FleetModel
import Foundation
import Testing

/// Kind by format, exactly.
struct ListingTests {
    struct Case: Sendable, CustomTestStringConvertible {
        var line: String
        var output: String

        var testDescription: String { line }
    }

    static let tables: [Case] = [
        Case(
            line: "get instances",
            output: """
                ID     HEALTH     STATE      POLICIES              SEEN    AGE
                i-0a   healthy    current    base@1,web-egress@2   5s      9d
                i-0b   degraded   refused    web-egress@2          2m      9d
                i-0c   offline    changing   web-egress@2          2h      2d
                i-0d   unknown    waiting    <none>                never   45s

                """),
        Case(
            line: "get i i-0b",
            output: """
                ID     HEALTH     STATE     POLICIES       SEEN   AGE
                i-0b   degraded   refused   web-egress@2   2m     9d

                """),
        Case(
            line: "get policies",
            output: """
                NAME         REVISION   CURRENT   HEALTHY   AGE
                base         1          1/1       1/1       30d
                web-egress   2          1/3       1/3       5m

                """),
        Case(
            line: "get pol web-egress base",
            output: """
                NAME         REVISION   CURRENT   HEALTHY   AGE
                base         1          1/1       1/1       30d
                web-egress   2          1/3       1/3       5m

                """),
        Case(
            line: "get tokens",
            output: """
                ID   INSTANCE   LABELS          STATE    USES LEFT   ENDS     AGE
                t1   i-0a       <none>          used     0           8d ago   9d
                t2   <any>      az=a,vpc=prod   active   3           in 50m   10m

                """),
        Case(
            line: "token list",
            output: """
                ID   INSTANCE   LABELS          STATE    USES LEFT   ENDS     AGE
                t1   i-0a       <none>          used     0           8d ago   9d
                t2   <any>      az=a,vpc=prod   active   3           in 50m   10m

                """),
        Case(
            line: "get ev",
            output: """
                AGE   KIND                SUBJECT             ACTOR            DETAIL
                5m    policy.applied      policy/web-egress   operator:admin   revision 2
                9d    instance.enrolled   instance/i-0a       instance:i-0a    with token t1

                """),
        Case(
            line: "get events --limit 1",
            output: """
                AGE   KIND             SUBJECT             ACTOR            DETAIL
                5m    policy.applied   policy/web-egress   operator:admin   revision 2

                """),
        Case(
            line: "rollout history web-egress",
            output: """
                REVISION   HASH           ACTOR            AGE   MESSAGE
                2          HASH2   operator:admin   5m    open 8002
                1          HASH1   operator:admin   3d    <none>

                """),
    ]

    static let wide: [Case] = [
        Case(
            line: "get i -o wide",
            output: """
                ID     HEALTH     STATE      POLICIES              SEEN    AGE   CONDITIONS       LABELS          AGENT    IPTABLES    ADDRESSES                    CERTIFICATE ENDS
                i-0a   healthy    current    base@1,web-egress@2   5s      9d    <none>           az=a,vpc=prod   0.1.0    <none>      <none>                       <none>
                i-0b   degraded   refused    web-egress@2          2m      9d    policy-refused   vpc=prod        0.1.0    1.8.9 nft   10.0.0.10,2001:db8:0:1::10   in 20h
                i-0c   offline    changing   web-egress@2          2h      2d    <none>           vpc=prod        0.1.0    <none>      <none>                       <none>
                i-0d   unknown    waiting    <none>                never   45s   <none>           <none>          <none>   <none>      <none>                       <none>

                """),
        Case(
            line: "get policy base -o wide",
            output: """
                NAME   REVISION   CURRENT   HEALTHY   AGE   PRIORITY   LABELS     NAMED   MASQUERADES   FORWARDS   HASH
                base   1          1/1       1/1       30d   100        vpc=prod   0       1             1          BASE

                """),
        Case(
            line: "token list -o wide",
            output: """
                ID   INSTANCE   LABELS          STATE    USES LEFT   ENDS     AGE   CREATED                ENDS AT
                t1   i-0a       <none>          used     0           8d ago   9d    2025-12-24T03:04:05Z   2025-12-25T03:04:05Z
                t2   <any>      az=a,vpc=prod   active   3           in 50m   10m   2026-01-02T02:54:05Z   2026-01-02T03:54:05Z

                """),
        Case(
            line: "get events --limit 1 -o wide",
            output: """
                AGE   KIND             SUBJECT             ACTOR            DETAIL       ID   AT
                5m    policy.applied   policy/web-egress   operator:admin   revision 2   8    2026-01-02T02:59:05Z

                """),
        Case(
            line: "rollout history base -o wide",
            output: """
                REVISION   HASH           ACTOR            AGE   MESSAGE   CREATED                FULL HASH
                1          BASE   operator:admin   30d   <none>    2025-12-03T03:04:05Z   WHOLE

                """),
        Case(line: "get instances -o name", output: ["a", "b", "c", "d"].map { "instance/i-0\($0)\n" }.joined()),
        Case(line: "get policies -o name", output: "policy/base\npolicy/web-egress\n"),
        Case(line: "get tokens -o name", output: "token/t1\ntoken/t2\n"),
        Case(line: "token list -o name", output: "token/t1\ntoken/t2\n"),
        Case(line: "get events -o name", output: "event/8\nevent/7\n"),
        Case(line: "rollout history web-egress -o name", output: "policy/web-egress@2\npolicy/web-egress@1\n"),
    ]

    @Test(arguments: wide) func printsWideTablesAndNames(_ example: Case) async throws {
        let run = try await natfleet(example.line, FakeFleet(try exampleFleet()))
        let hash = try #require(try exampleFleet().revisions["base"]?.first?.hash)
        let expected = example.output.replacing("BASE", with: hash.prefix(12)).replacing("WHOLE", with: hash)
        #expect(run == CommandRun(code: 0, output: expected, errors: ""))
    }

    @Test func showsWhoIsCordoned() async throws {
        var state = try exampleFleet()
        state.instances = state.instances.filter { $0.id == "i-0a" }
        state.instances[0].cordoned = true
        let run = try await natfleet("get instances", FakeFleet(state))
        #expect(
            run.output == """
                ID     HEALTH    STATE              POLICIES              SEEN   AGE
                i-0a   healthy   current,cordoned   base@1,web-egress@2   5s     9d

                """)
        #expect(
            try await natfleet("describe instance i-0a", FakeFleet(state)).output.contains("current,cordoned\n"))
    }

    @Test(arguments: tables) func printsTablesForPeople(_ example: Case) async throws {
        let run = try await natfleet(example.line, FakeFleet(try exampleFleet()))
        let hashes = try exampleFleet().revisions["web-egress", default: []].map { String($0.hash.prefix(12)) }
        let expected = example.output.replacing("HASH2", with: hashes[0]).replacing("HASH1", with: hashes[1])
        #expect(run == CommandRun(code: 0, output: expected, errors: ""))
    }

    static let machine: [Case] = [
        Case(
            line: "get events --limit 1 -o json",
            output: """
                [
                  {
                    "actor" : "operator:admin",
                    "at" : "2026-01-02T02:59:05Z",
                    "detail" : "revision 2",
                    "id" : 8,
                    "kind" : "policy.applied",
                    "subject" : "policy/web-egress"
                  }
                ]

                """),
        Case(
            line: "get events --limit 1 -o yaml",
            output: """
                - actor: operator:admin
                  at: '2026-01-02T02:59:05Z'
                  detail: revision 2
                  id: 8
                  kind: policy.applied
                  subject: policy/web-egress

                """),
        Case(
            line: "get instance i-0d -o json",
            output: """
                {
                  "cordoned" : false,
                  "desiredLayers" : [

                  ],
                  "enrolledAt" : "2026-01-02T03:03:20Z",
                  "health" : "unknown",
                  "id" : "i-0d",
                  "labels" : {

                  }
                }

                """),
        Case(
            line: "describe token t2 -o yaml",
            output: """
                createdAt: '2026-01-02T02:54:05Z'
                expiresAt: '2026-01-02T03:54:05Z'
                id: t2
                labels:
                  az: a
                  vpc: prod
                revoked: false
                usesLeft: 3

                """),
        Case(line: "version", output: "natfleet \(NatfleetVersion.current)\n"),
        Case(line: "version -o yaml", output: "version: \(NatfleetVersion.current)\n"),
        Case(
            line: "version -o json",
            output: """
                {
                  "version" : "\(NatfleetVersion.current)"
                }

                """),
    ]

    @Test(arguments: machine) func printsTheSameValuesForMachines(_ example: Case) async throws {
        let run = try await natfleet(example.line, FakeFleet(try exampleFleet()))
        #expect(run == CommandRun(code: 0, output: example.output, errors: ""))
    }

    @Test(arguments: ["instances", "policies", "tokens", "events"])
    func givesTheAPIsOwnValuesAsJSON(_ kind: String) async throws {
        let state = try exampleFleet()
        let data = Data(try await natfleet("get \(kind) -o json", FakeFleet(state)).output.utf8)
        switch kind {
        case "instances":
            #expect(try WireJSON.decode([Instance].self, from: data) == state.instances.sorted { $0.id < $1.id })
        case "policies":
            #expect(try WireJSON.decode([PolicyView].self, from: data).map(\.name) == ["base", "web-egress"])
        case "tokens": #expect(try WireJSON.decode([TokenView].self, from: data) == state.tokens.reversed())
        default: #expect(try WireJSON.decode([Event].self, from: data) == state.events)
        }
    }

    @Test(arguments: [
        ("instances", "no instances; enrol one with: natfleet token create --instance ID\n"),
        ("policies", "no policies; store one with: natfleet apply -f FILE\n"),
        ("tokens", "no join tokens; make one with: natfleet token create\n"),
        ("events", "no events\n"),
    ])
    func saysWhatToDoWhenThereIsNone(_ kind: String, _ note: String) async throws {
        #expect(try await natfleet("get \(kind)") == CommandRun(code: 0, output: "", errors: note))
        #expect(try await natfleet("describe \(kind)") == CommandRun(code: 0, output: "", errors: note))
        #expect(try await natfleet("get \(kind) -o yaml") == CommandRun(code: 0, output: "[]\n", errors: note))
    }

    @Test(arguments: ["instance nobody", "policy nobody", "token nobody"])
    func saysWhatIsNotThere(_ query: String) async throws {
        for verb in ["get", "describe"] {
            let run = try await natfleet("\(verb) \(query)", FakeFleet(try exampleFleet()))
            #expect(run.code == 3)
            #expect(run.output.isEmpty)
            #expect(run.errors.hasPrefix("error: there is no "))
            #expect(run.errors.contains("'nobody'\n  fix: "))
        }
    }

    // MARK: Terminals

    @Test func coloursHealthOnATerminalOnly() async throws {
        let fleet = FakeFleet(try exampleFleet())
        let environment = ["NATFLEET_CONFIG": try TemporaryFolder().path]
        let folder = try TemporaryFolder()
        let path = try folder.write(clientConfiguration, to: "c.yaml")
        for (isTerminal, noColour, isColoured) in [(true, "", true), (true, "1", false), (false, "", false)] {
            let run = try await natfleet(
                ["get", "instances"], fleet, isTerminal: isTerminal,
                environment: environment.merging(["NATFLEET_CONFIG": path, "NO_COLOR": noColour]) { $1 })
            #expect(run.output.contains("\u{1b}[32mhealthy\u{1b}[0m    \u{1b}[32mcurrent") == isColoured)
            #expect(run.output.contains("\u{1b}[31mdegraded\u{1b}[0m") == isColoured)
            #expect(run.output.contains("\u{1b}") == isColoured)
        }
        let json = try await natfleet(["get", "instances", "-o", "json"], fleet, isTerminal: true)
        #expect(!json.output.contains("\u{1b}"))
    }

    @Test(arguments: ["get events", "describe events", "get nothing"])
    func letsNobodyCommandTheTerminal(_ line: String) async throws {
        var state = FakeFleet.State()
        let evil = "a\u{1b}[2J\u{9b}31m\nb\u{202e}c\r"
        state.events = [Event(id: 1, at: now, actor: evil, kind: evil, subject: evil, detail: evil)]
        let fleet =
            line == "get nothing" ? FakeFleet(failing: FleetError(.notFound, evil, remedy: evil)) : FakeFleet(state)
        let run = try await natfleet(line == "get nothing" ? "get instances" : line, fleet)
        #expect((run.output + run.errors).contains("a?[2J?31m b?c?"))
        #expect(!(run.output + run.errors).unicodeScalars.contains { $0.value < 0x20 && $0 != "\n" })
    }
}
