// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: natfleet contributors

package import AgentCore
import CGlibcCompat
import Glibc

func isExecutable(_ path: String) -> Bool { access(path, X_OK) == 0 }

private func fault(_ what: String, _ path: String) -> StateFileError {
    StateFileError("cannot \(what) \(path): \(String(cString: strerror(errno)))")
}

/// Where a path leads once all symbolic links are followed: realpath(3).
func resolved(_ path: String) -> String? {
    guard let found = realpath(path, nil) else { return nil }
    defer { free(found) }
    return String(cString: found)
}

/// Reads a whole file; nil where there is none.
func readFile(_ path: String) throws(StateFileError) -> [UInt8]? {
    let descriptor = open(path, O_RDONLY | O_CLOEXEC)
    guard descriptor >= 0 else {
        if errno == ENOENT || errno == ENOTDIR { return nil }
        throw fault("open", path)
    }
    defer { close(descriptor) }
    return try readAll(descriptor, path)
}

private func readAll(_ descriptor: Int32, _ path: String) throws(StateFileError) -> [UInt8] {
    var bytes: [UInt8] = []
    var chunk = [UInt8](repeating: 0, count: 64 << 10)
    while true {
        let count = read(descriptor, &chunk, chunk.count)
        if count < 0 {
            if errno == EINTR { continue }
            throw fault("read", path)
        }
        if count == 0 { return bytes }
        bytes += chunk[..<count]
    }
}

private func writeAll(_ descriptor: Int32, _ bytes: [UInt8], _ path: String) throws(StateFileError) {
    var written = 0
    while written < bytes.count {
        let count = bytes.withUnsafeBytes {
            write(descriptor, $0.baseAddress.map { $0 + written }, bytes.count - written)
        }
        if count < 0 {
            if errno == EINTR { continue }
            throw fault("write", path)
        }
        written += count
    }
}

/// Writes to a file that is there already, such as those below /proc/sys.
func writeInPlace(_ path: String, _ bytes: [UInt8]) throws(StateFileError) {
    let descriptor = open(path, O_WRONLY | O_CLOEXEC)
    guard descriptor >= 0 else { throw fault("open", path) }
    defer { close(descriptor) }
    try writeAll(descriptor, bytes, path)
}

/// The agent's state folder.
package struct DirectoryStateFiles: StateFiles {
    let directory: String

    /// Makes the folder (0700) where it is missing.
    package init(directory: String) throws(StateFileError) {
        self.directory = directory
        try makeFolders(directory, mode: 0o700)
    }

    /// To look only: makes nothing.
    package init(reading directory: String) { self.directory = directory }

    package func read(_ name: StateFile) throws(StateFileError) -> [UInt8]? {
        try readFile("\(directory)/\(name.rawValue)")
    }

    package func write(_ name: StateFile, _ bytes: [UInt8]) throws(StateFileError) {
        try writeWhole("\(directory)/\(name.rawValue)", bytes, mode: 0o600)
    }

    package func remove(_ name: StateFile) throws(StateFileError) {
        try removeFile("\(directory)/\(name.rawValue)")
    }

    package func keep(_ name: StateFile, as other: StateFile) throws(StateFileError) {
        let (path, copy) = ("\(directory)/\(name.rawValue)", "\(directory)/\(other.rawValue)")
        guard unlink(copy) == 0 || errno == ENOENT else { throw fault("remove", copy) }
        if link(path, copy) == 0 || errno == ENOENT { return }
        // Not every file system has links.
        if let bytes = try read(name) { try write(other, bytes) }
    }

    /// Keeps bytes in a file of this folder without a name, which goes when nobody asks for it any more.
    /// - Returns: what reads them; nil where the disk or its file system does not take them.
    package func shelve(_ bytes: [UInt8]) -> (@Sendable () throws(StateFileError) -> [UInt8])? {
        guard let file = UnnamedFile(directory), (try? writeAll(file.descriptor, bytes, directory)) != nil else {
            return nil
        }
        return { () throws(StateFileError) in try file.read() }
    }
}

private final class UnnamedFile: Sendable {
    let descriptor: Int32
    private let folder: String

    init?(_ folder: String) {
        descriptor = natfleet_unnamed_file(folder)
        self.folder = folder
        if descriptor < 0 { return nil }
    }

    func read() throws(StateFileError) -> [UInt8] {
        let path = "a file without a name in \(folder)"
        guard lseek(descriptor, 0, SEEK_SET) == 0 else { throw fault("read", path) }
        return try readAll(descriptor, path)
    }

    deinit { close(descriptor) }
}

/// Writes beside it, fsync, rename, fsync of the folder: whole or not at all.
func writeWhole(_ path: String, _ bytes: [UInt8], mode: mode_t) throws(StateFileError) {
    let temporary = path + ".new"
    let descriptor = open(temporary, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, mode)
    guard descriptor >= 0 else { throw fault("write", temporary) }
    do throws(StateFileError) {
        defer { close(descriptor) }
        // Whatever the umask is.
        guard fchmod(descriptor, mode) == 0 else { throw fault("change", temporary) }
        try writeAll(descriptor, bytes, temporary)
        guard fsync(descriptor) == 0 else { throw fault("sync", temporary) }
    } catch {
        unlink(temporary)
        throw error
    }
    guard rename(temporary, path) == 0 else { throw fault("rename", temporary) }
    try syncFolder(of: path)
}

func removeFile(_ path: String) throws(StateFileError) {
    guard unlink(path) == 0 else {
        if errno == ENOENT || errno == ENOTDIR { return }
        throw fault("remove", path)
    }
    try syncFolder(of: path)
}

/// For what a program wrote that does not sync.
func syncFile(_ path: String) throws(StateFileError) {
    try sync(path, O_RDONLY)
    try syncFolder(of: path)
}

private func syncFolder(of path: String) throws(StateFileError) {
    let folder = path.lastIndex(of: "/").map { path[..<$0] } ?? "."
    try sync(folder.isEmpty ? "/" : String(folder), O_RDONLY | O_DIRECTORY)
}

private func sync(_ path: String, _ flags: Int32) throws(StateFileError) {
    let descriptor = open(path, flags | O_CLOEXEC)
    guard descriptor >= 0 else { throw fault("open", path) }
    defer { close(descriptor) }
    guard fsync(descriptor) == 0 else { throw fault("sync", path) }
}

/// The names in a folder, in order; none where there is no such folder.
func namesInFolder(_ path: String) -> [String] {
    guard let folder = opendir(path) else { return [] }
    defer { closedir(folder) }
    var names: [String] = []
    while let entry = readdir(folder) {
        let name = withUnsafePointer(to: &entry.pointee.d_name) {
            $0.withMemoryRebound(to: CChar.self, capacity: Int(NAME_MAX) + 1) { String(cString: $0) }
        }
        if name != ".", name != ".." { names.append(name) }
    }
    return names.sorted()
}

func makeFolders(_ path: String, mode: mode_t) throws(StateFileError) {
    var made = ""
    for part in path.split(separator: "/") {
        made += "/" + part
        if mkdir(made, mode) != 0, errno != EEXIST, access(made, F_OK) != 0 { throw fault("make", made) }
    }
}

/// A small text file that the operator wrote.
package enum ConfigurationFile {
    /// nil where there is none: everything may come from the environment.
    package static func read(_ path: String) throws(StateFileError) -> String? {
        try readFile(path).map { String(decoding: $0, as: UTF8.self) }
    }
}

/// Held while an agent runs, so that two never work on one state folder.
package struct StateLock: Sendable {
    private let descriptor: Int32

    /// - Throws: when another process holds it.
    package init(directory: String) throws(StateFileError) {
        let path = "\(directory)/lock"
        // To read: on a disk that has become read-only the file that is there is still good for a lock.
        descriptor = open(path, O_RDONLY | O_CREAT | O_CLOEXEC, 0o600)
        guard descriptor >= 0 else { throw fault("open", path) }
        guard flock(descriptor, LOCK_EX | LOCK_NB) == 0 else {
            close(descriptor)
            throw StateFileError(
                "another natfleet-agent runs on \(directory): stop it first, or give this one its own folder")
        }
    }

    package func release() { close(descriptor) }

    /// Whether a running agent holds it. Makes no file; holds a shared lock for an instant where nobody does.
    package static func isHeld(directory: String) throws(StateFileError) -> Bool {
        let path = "\(directory)/lock"
        let descriptor = open(path, O_RDONLY | O_CLOEXEC)
        guard descriptor >= 0 else {
            if errno == ENOENT || errno == ENOTDIR { return false }
            throw fault("open", path)
        }
        defer { close(descriptor) }
        return flock(descriptor, LOCK_SH | LOCK_NB) != 0 && errno == EWOULDBLOCK
    }
}

/// Takes away the state folder once its files are gone, with what a crash may have left in it.
/// - Returns: false where something that is not the agent's is in it.
package func removeStateFolder(_ directory: String) throws(StateFileError) -> Bool {
    for name in namesInFolder(directory)
    where name == "lock" || StateFile.allCases.contains(where: { "\($0.rawValue).new" == name }) {
        try removeFile("\(directory)/\(name)")
    }
    guard rmdir(directory) != 0 else { return true }
    switch errno {
    case ENOENT: return true
    case ENOTEMPTY, EEXIST: return false
    default: throw fault("remove", directory)
    }
}
