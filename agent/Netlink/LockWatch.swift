// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: natfleet contributors

import Glibc

/// Tells when programs of iptables' legacy back end may have changed rules: each of them opens one file to take the lock on
/// it, and closes it when it is done (iptables(8), `-w`; inotify(7)). Those that only list do so too.
///
/// The file is not made where nobody has needed it yet, and may be removed at any time: it is looked for again until it is there.
struct LockWatch: ~Copyable {
    let descriptor: Int32
    private let path: String
    private(set) var isWatched = false
    private var buffer = [UInt8](repeating: 0, count: 4 << 10)

    init(_ path: String) {
        self.path = path
        descriptor = inotify_init1(Int32(IN_NONBLOCK) | Int32(IN_CLOEXEC))
    }

    deinit { if descriptor >= 0 { close(descriptor) } }

    /// Looks for the file, where it is not watched.
    /// - Returns: whether somebody may have had the lock meanwhile.
    mutating func watch() -> Bool {
        guard !isWatched else { return false }
        // A file that was removed tells by its number of links, as long as somebody has it open.
        let status = inotify_add_watch(descriptor, path, UInt32(IN_CLOSE | IN_ATTRIB | IN_DELETE_SELF | IN_MOVE_SELF))
        isWatched = status >= 0
        return isWatched || errno != ENOENT
    }

    /// Reads what was told.
    /// - Returns: whether somebody may have had the lock.
    mutating func drain() -> Bool {
        var wasTaken = false
        while true {
            let count = read(descriptor, &buffer, buffer.count)
            guard count > 0 else { return watch() || wasTaken }
            // struct inotify_event: the watch, what happened, a cookie, the length of a name, which files of their own have none.
            for start in stride(from: 0, to: count, by: 16) {
                let mask = Int32(bitPattern: buffer[start..<count].native(UInt32.self, at: start + 4) ?? 0)
                if mask & IN_CLOSE == 0 { isWatched = false }
                wasTaken = true
            }
        }
    }
}
