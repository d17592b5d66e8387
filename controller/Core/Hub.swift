// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: natfleet contributors

import Synchronization

/// Wakes the held check-in of an instance when what it should run has changed.
///
/// Approach: each instance has a generation, moved by `wake`. A check-in arrives (which ends the wait of an earlier one
/// of the same instance), notes the generation, reads the store, and waits for a later generation. A change between the
/// reading and the waiting is therefore never lost, and nobody polls.
/// Threading: all state is behind one mutex that is held for a few instructions only; continuations are resumed outside.
package final class Hub: Sendable {
    package enum Wake: Hashable, Sendable {
        case changed
        /// A later check-in of the same instance took over.
        case displaced
        case timedOut
        /// The task that waited was cancelled: the client has gone or the controller stops.
        case cancelled
    }

    /// One check-in's place in the hub.
    package struct Ticket: Sendable {
        let instance: String
        let id: UInt64
        var generation: UInt64
    }

    private struct Place {
        var ticket: UInt64 = 0
        var generation: UInt64 = 0
        var waiter: CheckedContinuation<Wake, Never>?
    }

    private struct State {
        var lastTicket: UInt64 = 0
        var places: [String: Place] = [:]
    }

    private let state = Mutex(State())
    private let sleep: @Sendable (Duration) async throws -> Void

    package init(sleep: @escaping @Sendable (Duration) async throws -> Void) { self.sleep = sleep }

    /// Held check-ins now.
    package var waiting: Int { state.withLock { $0.places.values.count { $0.waiter != nil } } }

    package func arrive(_ instance: String) -> Ticket {
        let (ticket, earlier) = state.withLock { state in
            state.lastTicket += 1
            var place = state.places[instance] ?? Place()
            let earlier = place.waiter
            place.ticket = state.lastTicket
            place.waiter = nil
            state.places[instance] = place
            return (Ticket(instance: instance, id: place.ticket, generation: place.generation), earlier)
        }
        earlier?.resume(returning: .displaced)
        return ticket
    }

    package func wake(_ instances: some Sequence<String>) {
        let waiters = state.withLock { state in
            instances.compactMap { instance in
                var place = state.places[instance] ?? Place()
                let waiter = place.waiter
                place.generation += 1
                place.waiter = nil
                state.places[instance] = place
                return waiter
            }
        }
        for waiter in waiters { waiter.resume(returning: .changed) }
    }

    /// Wakes a check-in for the last time.
    package func forget(_ instance: String) {
        let waiter = state.withLock { $0.places.removeValue(forKey: instance)?.waiter }
        waiter?.resume(returning: .changed)
    }

    /// Waits until the generation is later than the ticket's, and moves the ticket on to it.
    package func wait(_ ticket: inout Ticket, atMost limit: Duration) async -> Wake {
        let held = ticket
        let timer = Task { [sleep] in
            guard (try? await sleep(limit)) != nil else { return }
            self.end(held, .timedOut)
        }
        defer { timer.cancel() }
        let wake = await withTaskCancellationHandler {
            await withCheckedContinuation { continuation in
                let atOnce: Wake? = state.withLock { state in
                    guard var place = state.places[held.instance], place.ticket == held.id else { return .displaced }
                    if place.generation != held.generation { return .changed }
                    // The handler below runs before this when the task is cancelled already.
                    if Task.isCancelled { return .cancelled }
                    place.waiter = continuation
                    state.places[held.instance] = place
                    return nil
                }
                if let atOnce { continuation.resume(returning: atOnce) }
            }
        } onCancel: {
            end(held, .cancelled)
        }
        ticket.generation = state.withLock { $0.places[held.instance]?.generation ?? held.generation }
        return wake
    }

    private func end(_ ticket: Ticket, _ wake: Wake) {
        let waiter = state.withLock { state -> CheckedContinuation<Wake, Never>? in
            guard var place = state.places[ticket.instance], place.ticket == ticket.id else { return nil }
            let waiter = place.waiter
            place.waiter = nil
            state.places[ticket.instance] = place
            return waiter
        }
        waiter?.resume(returning: wake)
    }
}
