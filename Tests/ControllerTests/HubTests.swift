// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: natfleet contributors

import ControllerCore
import Synchronization
import Testing

/// Waking held check-ins: nothing is lost between reading and waiting, nobody is woken twice.
struct HubTests {
    private let hub = Hub(sleep: { try await Task.sleep(for: $0) })

    @Test func aChangeBetweenReadingAndWaitingIsNotLost() async {
        var ticket = hub.arrive("a")
        hub.wake(["a"])
        #expect(await hub.wait(&ticket, atMost: .seconds(50)) == .changed)
        // The same change does not wake it again.
        #expect(await hub.wait(&ticket, atMost: .milliseconds(20)) == .timedOut)
    }

    @Test func aLaterArrivalDisplacesAnEarlierOneBeforeAndWhileItWaits() async throws {
        var early = hub.arrive("a")
        _ = hub.arrive("a")
        #expect(await hub.wait(&early, atMost: .seconds(50)) == .displaced)

        let ticket = hub.arrive("a")
        let held = Task { [hub] in
            var ticket = ticket
            return await hub.wait(&ticket, atMost: .seconds(50))
        }
        #expect(try await eventually { hub.waiting == 1 })
        _ = hub.arrive("a")
        #expect(await held.value == .displaced)
    }

    @Test func cancellingEndsTheWaitEvenBeforeItBegan() async {
        let held = Task { [hub] in
            withUnsafeCurrentTask { $0?.cancel() }
            var ticket = hub.arrive("a")
            return await hub.wait(&ticket, atMost: .seconds(50))
        }
        #expect(await held.value == .cancelled)
        #expect(hub.waiting == 0)
    }

    @Test func aThousandWaitersAreWokenAtOnceAndOthersNot() async throws {
        let names = (0..<1000).map { "i-\($0)" }
        let woken = Recorder<String>()
        let tasks = (names + ["other"]).map { name in
            Task { [hub] in
                var ticket = hub.arrive(name)
                if await hub.wait(&ticket, atMost: .seconds(50)) == .changed { woken.add(name) }
            }
        }
        #expect(try await eventually { hub.waiting == 1001 })
        hub.wake(names)
        #expect(try await eventually { woken.values.count == 1000 })
        #expect(hub.waiting == 1)
        for task in tasks { task.cancel() }
    }
}

/// Collects what a closure was called with.
final class Recorder<Value: Sendable>: Sendable {
    private let list = Mutex<[Value]>([])

    var values: [Value] { list.withLock { $0 } }

    func add(_ value: Value) { list.withLock { $0.append(value) } }
}
