// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: natfleet contributors

import FleetAPI
import FleetModel
package import Logging

/// The shell around `AgentMachine`: feeds it events, performs its actions, nothing else.
///
/// One task owns the machine. Each action runs in a child task and comes back as an event, so that nothing here waits
/// for anything but the next event. Cancelling the task that runs `run` ends the waiting; work under way is finished
/// first (its own task is not cancelled), and NAT stays as it is.
package struct AgentLoop: Sendable {
    let link: any ControllerLink
    let reconciler: Reconciler
    let log: Logger
    /// What the kernel tells by itself; nil where it can't be listened to, so that looking has to do.
    let news: AsyncStream<NetworkEvent>?
    let clock: @Sendable () -> Double

    package init(
        link: any ControllerLink, reconciler: Reconciler, log: Logger, news: AsyncStream<NetworkEvent>?,
        clock: @escaping @Sendable () -> Double
    ) {
        self.news = news
        self.link = link
        self.reconciler = reconciler
        self.log = log
        self.clock = clock
    }

    package func run() async {
        let (events, sender) = AsyncStream.makeStream(of: AgentEvent.self)
        var machine = AgentMachine(
            isEnrolled: await link.isEnrolled, status: await reconciler.firstStatus, wholeLook: news == nil ? 10 : 300)
        // Before any news: a trial that was left comes first.
        sender.yield(.started)
        await withDiscardingTaskGroup { group in
            if let news {
                group.addTask {
                    for await event in news { sender.yield(.moved(event.look)) }
                }
            }
            var checkIn: Task<Void, Never>?
            var alarm = Alarm()
            for await event in events {
                if case .ticked = event { alarm.rang() }
                for action in machine.handle(event, now: clock(), unit: Double.random(in: 0..<1)) {
                    switch action {
                    case .checkIn(let number, let request):
                        checkIn = Task { sender.yield(await answer(number, request)) }
                    case .cancelCheckIn:
                        checkIn?.cancel()
                    default:
                        group.addTask { await perform(action, sender) }
                    }
                }
                let now = clock()
                alarm.ring(at: now + machine.rest(now), now: now) { await tick(sender) }
            }
            alarm.cancel()
            checkIn?.cancel()
            group.cancelAll()
        }
    }

    private func tick(_ sender: AsyncStream<AgentEvent>.Continuation) async {
        sender.yield(.ticked(renewalIsDue: await link.renewalIsDue))
    }

    private func answer(_ number: Int, _ request: CheckinRequest) async -> AgentEvent {
        do throws(LinkTrouble) {
            return .answered(number: number, try await link.checkIn(request))
        } catch {
            return .linkFailed(number: number, error)
        }
    }

    private func perform(_ action: AgentAction, _ sender: AsyncStream<AgentEvent>.Continuation) async {
        switch action {
        case .enrol, .renew:
            do throws(LinkTrouble) {
                if action == .enrol { try await link.enrol() } else { try await link.renew() }
                let instance = await link.instanceID
                log.notice(action == .enrol ? "enrolled" : "renewed", metadata: ["instance": "\(instance)"])
                sender.yield(action == .enrol ? .enrolled : .renewed)
            } catch {
                sender.yield(.linkFailed(number: nil, error))
            }
        case .wait(let number, let seconds):
            try? await Task.sleep(for: .seconds(seconds))
            sender.yield(.waited(number: number))
        case .perform(let step):
            // The rules are in force: what is asked of the controller next has to pass through them from its first packet on.
            if step == .prove { await link.connectAnew() }
            let (event, report) = await Task { await reconciler.perform(step) }.value
            if report.hasMovedRules { await link.connectAnew() }
            sender.yield(.stepped(event, report))
        case .reconcile(let look):
            await reconciler.hear(link.health)
            sender.yield(.reconciled(await Task { await reconciler.reconcile(look) }.value))
        case .warn(let error):
            log.warning(
                "\(error.message)", metadata: ["code": "\(error.code.rawValue)", "fix": "\(error.remedy ?? "none")"])
        case .note(let text):
            log.notice("\(text)")
        case .checkIn, .cancelCheckIn:
            break
        }
    }
}

extension NetworkEvent {
    /// What it asks for.
    fileprivate var look: Look {
        switch self {
        case .ruleset: .glance
        case .lock: .rules
        case .network, .lost: .everything
        }
    }
}

/// Wakes the loop when there may be something to do: an agent that has nothing to do sleeps, and its threads go.
private struct Alarm {
    private var time = Double.infinity
    private var task: Task<Void, Never>?

    /// Sooner than it was set to, or not at all.
    mutating func ring(at time: Double, now: Double, _ body: @escaping @Sendable () async -> Void) {
        guard time < self.time else { return }
        self.time = time
        task?.cancel()
        task = Task {
            // Whoever sets it anew cancels it.
            guard (try? await Task.sleep(for: .seconds(time - now), tolerance: .milliseconds(200))) != nil else {
                return
            }
            await body()
        }
    }

    mutating func rang() { (time, task) = (.infinity, nil) }

    func cancel() { task?.cancel() }
}
