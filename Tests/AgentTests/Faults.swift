// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: natfleet contributors

import AgentCore
import Synchronization

/// What goes wrong: shared by the fake kernel and the fake files, so that one number counts through all operations.
final class Faults: Sendable {
    enum Operation: Hashable {
        case facts
        case observe
        case rehearse
        case restore
        case readSysctl
        case setSysctl
        case readFile
        case writeFile
        /// The file is there, and the folder that names it is not on the disk yet.
        case syncFolder
        /// The disk says that it took a file, and did not.
        case keepFile
        case sweep
    }

    private struct State {
        var count = 0
        /// The operation, counted from 1, that fails once.
        var failing: Int?
        /// Kinds that fail until told otherwise.
        var broken: Set<Operation> = []
        /// What failed last.
        var failed: Operation?
    }

    private let state = Mutex(State())

    /// Operations so far.
    var count: Int { state.withLock { $0.count } }

    /// The last operation that was made to fail.
    var failed: Operation? { state.withLock { $0.failed } }

    func failOnce(at number: Int?) {
        state.withLock { $0 = State(failing: number, broken: $0.broken) }
    }

    func fail(_ operations: Operation...) { state.withLock { $0.broken = Set(operations) } }

    /// For those that are not counted.
    func isBroken(_ operation: Operation) -> Bool { state.withLock { $0.broken.contains(operation) } }

    /// Counts an operation; true when it has to fail.
    func hit(_ operation: Operation) -> Bool {
        state.withLock { state in
            state.count += 1
            guard state.count == state.failing || state.broken.contains(operation) else { return false }
            state.failed = operation
            return true
        }
    }
}

/// A state folder in memory.
final class MemoryFiles: StateFiles {
    let contents = Mutex<[StateFile: [UInt8]]>([:])
    /// What there was after each write and removal: all that a power cut could leave.
    let history = Mutex<[[StateFile: [UInt8]]]>([])
    private let faults: Faults

    init(_ faults: Faults) { self.faults = faults }

    func read(_ name: StateFile) throws(StateFileError) -> [UInt8]? {
        if faults.hit(.readFile) { throw StateFileError("cannot read \(name.rawValue)") }
        return contents.withLock { $0[name] }
    }

    func write(_ name: StateFile, _ bytes: [UInt8]) throws(StateFileError) {
        if faults.hit(.writeFile) { throw StateFileError("cannot write \(name.rawValue)") }
        if faults.isBroken(.keepFile) { return }
        put(name, bytes)
        if faults.hit(.syncFolder) { throw StateFileError("cannot sync the folder of \(name.rawValue)") }
    }

    func remove(_ name: StateFile) throws(StateFileError) {
        if faults.hit(.writeFile) { throw StateFileError("cannot remove \(name.rawValue)") }
        put(name, nil)
    }

    func keep(_ name: StateFile, as other: StateFile) throws(StateFileError) {
        if faults.hit(.writeFile) { throw StateFileError("cannot write \(other.rawValue)") }
        put(other, contents.withLock { $0[name] })
    }

    private func put(_ name: StateFile, _ bytes: [UInt8]?) {
        let all = contents.withLock { contents in
            contents[name] = bytes
            return contents
        }
        history.withLock { $0.append(all) }
    }
}
