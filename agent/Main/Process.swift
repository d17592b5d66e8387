// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: natfleet contributors

import AgentCore
import AgentDataplane
import AgentNetlink
import ArgumentParser
import CGlibcCompat
import Dispatch
import FleetModel
import Glibc
import Logging
import NetAddress

func makeLogger() -> Logger {
    LoggingSystem.bootstrap { label in StreamLogHandler.standardError(label: label) }
    return Logger(label: "natfleet-agent")
}

/// Runs `body`; a fault is logged with its remedy and ends the program with exit status 2, without a stack trace.
func exitOnFault<Value>(_ log: Logger, _ body: () throws -> Value) throws -> Value {
    do {
        return try body()
    } catch {
        log.error("\(error)")
        throw ExitCode(2)
    }
}

/// Runs `body` until it ends or SIGTERM or SIGINT asks it to.
func runUntilSignalled(_ body: @escaping @Sendable () async -> Void) async {
    let task = Task { await body() }
    let sources = [SIGTERM, SIGINT].map { number in
        signal(number, SIG_IGN)
        let source = DispatchSource.makeSignalSource(signal: number, queue: .global())
        source.setEventHandler { task.cancel() }
        source.resume()
        return source
    }
    await task.value
    sources.forEach { $0.cancel() }
}

func loadConfiguration(_ path: String) throws -> Configuration {
    let text = try readConfiguration(path)
    do throws(FleetError) {
        return try Configuration(text: text, file: path, environment: environment())
    } catch {
        guard text == nil else { throw error }
        // The environment might have held everything: that there is no file is a fault only now.
        throw FleetError(error.code, "there is no \(path), and \(error.message)", remedy: error.remedy)
    }
}

private func readConfiguration(_ path: String) throws -> String? {
    try ConfigurationFile.read(path)
}

/// `restore` needs only the state folder, and must work with a configuration that is otherwise unusable.
func loadStateDirectory(_ path: String) throws -> String {
    Configuration.stateDirectory(text: try readConfiguration(path), environment: environment())
}

private func environment() -> [String: String] {
    var values: [String: String] = [:]
    var entry = environ
    while let text = entry.pointee {
        let pair = String(cString: text).split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
        if pair.count == 2, pair[0].hasPrefix("NATFLEET_") { values[String(pair[0])] = String(pair[1]) }
        entry += 1
    }
    return values
}

/// The controller's address and port where its URL has a literal address.
func controllerEndpoints(_ url: String) -> [Endpoint] {
    let place = url.dropFirst("https://".count)
    if let endpoint = try? Endpoint(place) { return [endpoint] }
    guard let port = try? PortRange(443), let address = try? IPAddress(place) else { return [] }
    return [Endpoint(address, ports: port)]
}

#if DEBUG
    /// For tests: kills this process before the step of a trial that NATFLEET_FAULT_POINT names, as a power cut would, or
    /// stops it (SIGSTOP) before the one that stands in the file NATFLEET_STOP_FILE, so that the machine can be changed there.
    @Sendable func obeyTest(_ step: String) {
        if let wanted = getenv("NATFLEET_FAULT_POINT"), String(cString: wanted) == step { kill(getpid(), SIGKILL) }
        if let file = getenv("NATFLEET_STOP_FILE"), (try? readConfiguration(String(cString: file))) == step + "\n" {
            // This thread at once: by kill(2) it might go on until another one has taken the signal.
            raise(SIGSTOP)
        }
    }
#endif

/// A number of seconds that a test passes in by the environment; nil in a release.
func secondsOfTest(_ name: String) -> Int? {
    #if DEBUG
        getenv(name).flatMap { Int(String(cString: $0)) }
    #else
        nil
    #endif
}

/// The machine's memory, nil where /proc does not tell.
func memoryKiB() -> Int? {
    (try? ConfigurationFile.read("/proc/meminfo")).flatMap { $0 }.flatMap(ConntrackSize.memoryKiB)
}

/// News of the kernel; an agent that can't listen looks every 10 s instead.
func listen(_ log: Logger) -> NetworkNews? {
    do throws(KernelError) {
        return try networkNews()
    } catch {
        log.warning("\(error.description); looking every 10 s instead")
        return nil
    }
}

/// CLOCK_BOOTTIME: never goes back, and goes on while the machine sleeps (clock_gettime(2)).
@Sendable func secondsSinceBoot() -> Double {
    var time = timespec()
    clock_gettime(CLOCK_BOOTTIME, &time)
    return Double(time.tv_sec) + Double(time.tv_nsec) / 1e9
}

/// Whether a time service keeps the clock; nil where that may not be asked.
func isClockKept() -> Bool? {
    let answer = natfleet_clock_is_kept()
    return answer < 0 ? nil : answer == 1
}
