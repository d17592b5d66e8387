// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: natfleet contributors

import FleetModel
import Foundation

/// The folder that holds everything of one controller: `0700`, used by one process at a time.
///
/// Files in it are written whole: to a new file (`0600`), synced, renamed over the old one, and the folder synced, so
/// that a crash leaves the old content or the new.
package final class DataFolder: Sendable {
    package let path: String
    /// Holds the lock until the folder is let go, at the latest when the process ends, however it ends.
    private let lock: Int32

    /// Makes the folder when it is missing, and takes its lock.
    ///
    /// - Throws: `FleetError` forbidden when it cannot be written, conflict when another controller has it.
    package init(_ path: String) throws {
        self.path = path
        try Self.makeFolder(path)
        let descriptor = open("\(path)/lock", O_RDWR | O_CREAT | O_CLOEXEC, 0o600)
        guard descriptor >= 0 else { throw Self.notWritable(path) }
        guard flock(descriptor, LOCK_EX | LOCK_NB) == 0 else {
            close(descriptor)
            throw FleetError(
                .conflict, "another controller runs on \(path)",
                remedy: "stop it, or give this one a folder of its own with --data")
        }
        lock = descriptor
    }

    deinit { close(lock) }

    package func path(of name: String) -> String { "\(path)/\(name)" }

    package func exists(_ name: String) -> Bool { FileManager.default.fileExists(atPath: path(of: name)) }

    /// - Throws: `FleetError` forbidden.
    package func makeFolder(_ name: String) throws { try Self.makeFolder(path(of: name)) }

    private static func makeFolder(_ path: String) throws {
        do {
            try FileManager.default.createDirectory(
                atPath: path, withIntermediateDirectories: true, attributes: [.posixPermissions: 0o700])
        } catch {
            // Foundation's own checks leave no errno behind.
            var isFolder: ObjCBool = false
            if FileManager.default.fileExists(atPath: path, isDirectory: &isFolder), !isFolder.boolValue {
                errno = ENOTDIR
            }
            throw notWritable(path)
        }
    }

    /// nil when there is no such file.
    ///
    /// - Throws: `FleetError` forbidden.
    package func read(_ name: String) throws -> String? {
        guard exists(name) else { return nil }
        guard let data = FileManager.default.contents(atPath: path(of: name)) else {
            throw FleetError(
                .forbidden, "\(path(of: name)) cannot be read",
                remedy: "give the user that runs `natfleet serve` the data folder")
        }
        return String(decoding: data, as: UTF8.self)
    }

    /// - Throws: `FleetError` forbidden.
    package func write(_ text: String, to name: String) throws {
        let target = path(of: name)
        let scratch = "\(target).new"
        unlink(scratch)
        let file = open(scratch, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0o600)
        guard file >= 0 else { throw Self.notWritable(target) }
        var bytes = Array(text.utf8)[...]
        while !bytes.isEmpty {
            let count = bytes.withUnsafeBytes { Foundation.write(file, $0.baseAddress, $0.count) }
            if count < 0, errno == EINTR { continue }
            guard count > 0 else {
                close(file)
                throw Self.notWritable(target)
            }
            bytes = bytes.dropFirst(count)
        }
        let synced = fsync(file) == 0
        close(file)
        guard synced, rename(scratch, target) == 0 else { throw Self.notWritable(target) }
        let folder = open(
            target.split(separator: "/", omittingEmptySubsequences: false).dropLast()
                .joined(separator: "/"), O_RDONLY | O_DIRECTORY | O_CLOEXEC)
        guard folder >= 0 else { return }
        fsync(folder)
        close(folder)
    }

    private static func notWritable(_ path: String) -> FleetError {
        FleetError(
            .forbidden, "\(path) cannot be written: \(String(cString: strerror(errno)))",
            remedy: "name a folder of your own with --data, or give this user that one")
    }
}
