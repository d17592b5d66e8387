// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: natfleet contributors

import ControllerCLI
import FleetAPI
import FleetModel
import Foundation
import Synchronization
import Testing

/// `get --watch`, with what happens between two polls as the sleep.
struct WatchTests {
    /// Runs a watch; each of `steps` happens in one wait, the next wait ends it.
    private func watch(
        _ line: String, _ fleet: FakeFleet, isTerminal: Bool = false, height: Int? = nil,
        _ steps: [@Sendable () -> Void]
    ) async throws -> CommandRun {
        let waits = Mutex(0)
        return try await natfleet(
            line.split(separator: " ").map(String.init), fleet, isTerminal: isTerminal, height: height,
            sleep: { duration in
                #expect(duration == .seconds(2))
                let number = waits.withLock { count in
                    count += 1
                    return count
                }
                guard number <= steps.count else { throw CancellationError() }
                steps[number - 1]()
            })
    }

    @Test func appendsWhatChangedWhereThereIsNoTerminal() async throws {
        let fleet = FakeFleet(try exampleFleet())
        let run = try await watch(
            "get instances -w", fleet,
            [
                {}, { fleet.change { $0.instances[0].lastSeen = now } },
                { fleet.change { $0.instances[0].health = .healthy } },
                { fleet.change { $0.instances.removeFirst() } },
            ])
        #expect(
            run
                == CommandRun(
                    code: 0,
                    output: """
                        ID     HEALTH     STATE      POLICIES              SEEN    AGE
                        i-0a   healthy    current    base@1,web-egress@2   5s      9d
                        i-0b   degraded   refused    web-egress@2          2m      9d
                        i-0c   offline    changing   web-egress@2          2h      2d
                        i-0d   unknown    waiting    <none>                never   45s
                        i-0c   healthy    changing   web-egress@2          0s      2d

                        """, errors: "instance/i-0c is gone\n"))
    }

    @Test func appendsEventsOldestFirst() async throws {
        let fleet = FakeFleet(try exampleFleet())
        let run = try await watch(
            "get events --limit 2 --watch", fleet,
            [
                {
                    fleet.change {
                        let event = Event(
                            id: 9, at: now, actor: "controller", kind: "k", subject: "instance/i-0a", detail: "d")
                        $0.events.insert(event, at: 0)
                    }
                }
            ])
        #expect(
            run
                == CommandRun(
                    code: 0,
                    output: """
                        AGE   KIND                SUBJECT             ACTOR            DETAIL
                        9d    instance.enrolled   instance/i-0a       instance:i-0a    with token t1
                        5m    policy.applied      policy/web-egress   operator:admin   revision 2
                        0s    k                   instance/i-0a       controller       d

                        """, errors: ""))
    }

    @Test func repaintsATerminal() async throws {
        let fleet = FakeFleet(try exampleFleet())
        let run = try await watch(
            "get policies -w", fleet, isTerminal: true,
            [{ fleet.change { $0.failure = FleetError(.unreachable, "no answer\u{1b}[2J", remedy: nil) } }])
        let head = "\u{1b}[?7l\u{1b}[Hget policies at 2026-01-02T03:04:05Z, every 2s, Ctrl-C ends\u{1b}[K\n"
        let rest = """
            \u{1b}[K
            NAME         REVISION   CURRENT   HEALTHY   AGE\u{1b}[K
            base         1          \u{1b}[32m1/1\u{1b}[0m       \u{1b}[32m1/1\u{1b}[0m       30d\u{1b}[K
            web-egress   2          \u{1b}[33m1/3\u{1b}[0m       \u{1b}[33m1/3\u{1b}[0m       5m\u{1b}[K
            \u{1b}[J\u{1b}[?7h
            """
        let trouble = "\u{1b}[31mnot up to date: no answer?[2J\u{1b}[0m\u{1b}[K\n"
        #expect(run == CommandRun(code: 0, output: head + rest + head + trouble + rest, errors: ""))
    }

    @Test func fitsTheTerminal() async throws {
        let run = try await watch(
            "get instances -w -o name", FakeFleet(try exampleFleet()), isTerminal: true, height: 6, [])
        #expect(
            run.output.replacing("\u{1b}[K", with: "").split(separator: "\n", omittingEmptySubsequences: false)
                .dropFirst()
                == ["", "instance/i-0a", "instance/i-0b", "... 2 more", "\u{1b}[J\u{1b}[?7h"])
    }

    @Test func goesOnWithoutAnAnswer() async throws {
        let fleet = FakeFleet(try exampleFleet())
        let failure: @Sendable () -> Void = {
            fleet.change { $0.failure = FleetError(.unreachable, "no answer", remedy: nil) }
        }
        let run = try await watch(
            "get pol base -w -o name", fleet,
            [
                failure, failure,
                {
                    fleet.change {
                        $0.failure = nil
                        $0.current["base"] = nil
                        $0.revisions["base"] = nil
                    }
                },
            ])
        #expect(
            run
                == CommandRun(
                    code: 0, output: "policy/base\n", errors: "no answer; trying on\n"))
    }

    @Test func beginsOnlyWithAnAnswer() async throws {
        let run = try await watch(
            "get instances -w", FakeFleet(failing: FleetError(.unreachable, "no answer", remedy: "wait")), [{}])
        #expect(run == CommandRun(code: 6, output: "", errors: "error: no answer\n  fix: wait\n"))
    }
}
