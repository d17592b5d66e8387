// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: natfleet contributors

import Foundation
import Synchronization

/// A program that runs beside the test; killed with the last reference.
final class Daemon: Sendable {
    private let process: Mutex<Process>
    private let input: Pipe
    private let printed = Printed()
    let pid: Int32

    private final class Printed: Sendable {
        let text = Mutex("")

        /// By a thread and a descriptor of its own: a `readabilityHandler` whose descriptor is closed while another program
        /// starts can bring libdispatch down.
        func read(_ descriptor: Int32) {
            let own = fcntl(descriptor, F_DUPFD_CLOEXEC, 0)
            Thread.detachNewThread {
                let handle = FileHandle(fileDescriptor: own, closeOnDealloc: true)
                while case let data = handle.availableData, !data.isEmpty {
                    self.text.withLock { $0 += String(decoding: data, as: UTF8.self) }
                }
            }
        }
    }

    init(_ path: String, _ arguments: [String]) throws {
        let (process, input, output) = (Process(), Pipe(), Pipe())
        process.executableURL = URL(fileURLWithPath: path)
        process.arguments = arguments
        process.standardInput = input
        process.standardOutput = output
        process.standardError = output
        try withoutBlockedSignals { try process.run() }
        printed.read(output.fileHandleForReading.fileDescriptor)
        self.pid = process.processIdentifier
        self.process = Mutex(process)
        self.input = input
    }

    /// What it has printed so far, both streams.
    var output: String { printed.text.withLock { $0 } }

    var isRunning: Bool { process.withLock { $0.isRunning } }

    func write(_ text: String) { input.fileHandleForWriting.write(Data(text.utf8)) }

    func endInput() async {
        try? input.fileHandleForWriting.close()
        await waitForEnd()
    }

    /// Sends a signal and waits for the end.
    func end(_ signal: Int32 = SIGTERM) async {
        kill(pid, signal)
        await waitForEnd()
    }

    /// Not `waitUntilExit`: it runs a run loop, which a thread of Swift's pool has not.
    private func waitForEnd() async {
        let deadline = ContinuousClock.now + .seconds(15)
        while isRunning {
            if ContinuousClock.now > deadline { kill(pid, SIGKILL) }
            try? await Task.sleep(for: .milliseconds(20))
        }
    }

    deinit {
        if isRunning { kill(pid, SIGKILL) }
    }
}

/// The threads that tests run on block nearly all signals, and a program starts with the mask of the thread that starts
/// it: without this, whatever runs below would be deaf to SIGTERM, SIGALRM and SIGCHLD.
private func withoutBlockedSignals<Value>(_ body: () throws -> Value) rethrows -> Value {
    var none = sigset_t()
    var before = sigset_t()
    sigemptyset(&none)
    pthread_sigmask(SIG_SETMASK, &none, &before)
    defer { pthread_sigmask(SIG_SETMASK, &before, nil) }
    return try body()
}
