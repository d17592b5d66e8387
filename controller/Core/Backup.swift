// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: natfleet contributors

import FleetModel
import Foundation

/// Copies the data folder of a controller, which may run meanwhile, to a new folder that is a data folder itself: to
/// restore it, serve it.
///
/// The target appears whole or not at all. Small files are copied before the database: the fleet's authority is made
/// once, before the first row that depends on it, and a server certificate that was renewed since is made anew.
///
/// - Parameters:
///   - data: the folder, or a symbolic link to it, as systemd makes one for a unit with DynamicUser.
///   - database: the database's name in the folder.
///   - needed: files without which a copy would be worth nothing.
///   - copyDatabase: copies it consistently, from a path to a path.
/// - Throws: `FleetError` notFound when there is no controller's data, conflict when the target is there, forbidden;
///   internal when what was copied is not all that is needed.
package func backUp(
    _ data: String, to target: String, database: String, needed: [String],
    copyDatabase: (_ from: String, _ to: String) throws -> Void
) throws {
    let files = FileManager.default
    // Of a link, nothing would be listed.
    let data = URL(fileURLWithPath: data).resolvingSymlinksInPath().path
    for name in [database] + needed where !files.fileExists(atPath: "\(data)/\(name)") {
        throw FleetError(
            .notFound, "\(data) holds no controller's data: \(name) is missing",
            remedy: "name the folder that `natfleet serve` uses with --data")
    }
    guard !files.fileExists(atPath: target) else {
        throw FleetError(
            .conflict, "\(target) exists already", remedy: "name a folder that is not there yet with --to")
    }
    let scratch = "\(target).part-\(Surroundings().identifier())"
    guard mkdir(scratch, 0o700) == 0 else { throw unmakeable(target) }
    do {
        let copy = try DataFolder(scratch)
        for name in try files.subpathsOfDirectory(atPath: data).sorted() where isKept(name, database) {
            var isFolder: ObjCBool = false
            guard files.fileExists(atPath: "\(data)/\(name)", isDirectory: &isFolder) else { continue }
            guard !isFolder.boolValue else {
                try copy.makeFolder(name)
                continue
            }
            guard let content = files.contents(atPath: "\(data)/\(name)") else { throw unreadable("\(data)/\(name)") }
            try copy.write(String(decoding: content, as: UTF8.self), to: name)
        }
        try copyDatabase("\(data)/\(database)", copy.path(of: database))
        chmod(copy.path(of: database), 0o600)
        unlink(copy.path(of: "lock"))
        for name in [database] + needed where !copy.exists(name) { throw incomplete(data, name) }
        for path in [copy.path(of: database), scratch] where !sync(path) { throw unreadable(path) }
        guard rename(scratch, target) == 0 else { throw unmakeable(target) }
        _ = sync(URL(fileURLWithPath: target).deletingLastPathComponent().path)
    } catch {
        try? files.removeItem(atPath: scratch)
        throw error
    }
}

/// Neither the database, which is copied in its own way, nor what a restart makes anew.
private func isKept(_ name: String, _ database: String) -> Bool {
    !name.hasPrefix(database) && name != "lock" && !name.hasSuffix(".new")
}

private func unmakeable(_ target: String) -> FleetError {
    FleetError(
        .forbidden, "\(target) cannot be made: \(String(cString: strerror(errno)))",
        remedy: "choose another place with --to")
}

private func incomplete(_ data: String, _ name: String) -> FleetError {
    FleetError(
        .internal, "\(name) of \(data) did not come into the copy, which was removed",
        remedy: "put the files themselves where symbolic links are in \(data), and try again")
}

private func unreadable(_ path: String) -> FleetError {
    FleetError(
        .forbidden, "\(path) cannot be read or written: \(String(cString: strerror(errno)))",
        remedy: "run this as the user that runs `natfleet serve`, or as root, and make room on the disk")
}

private func sync(_ path: String) -> Bool {
    let descriptor = open(path, O_RDONLY | O_CLOEXEC)
    guard descriptor >= 0 else { return false }
    defer { close(descriptor) }
    return fsync(descriptor) == 0
}
