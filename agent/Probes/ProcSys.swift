// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: natfleet contributors

import AgentCore
import Glibc

/// Where /proc/sys/net leads depends on the network namespace of the calling thread.
///
/// - Parameter path: below /proc/sys. What this kernel does not have is passed over.
func setSysctl(_ path: String, _ value: String) throws(KernelError) {
    let descriptor = open("/proc/sys/\(path)", O_WRONLY | O_CLOEXEC)
    guard descriptor >= 0 else {
        if errno == ENOENT { return }
        throw KernelError("/proc/sys/\(path): \(text(errno))")
    }
    defer { close(descriptor) }
    let bytes = Array(value.utf8)
    guard write(descriptor, bytes, bytes.count) == bytes.count else {
        throw KernelError("/proc/sys/\(path)=\(value): \(text(errno))")
    }
}

/// nil where this kernel has no such value.
func sysctl(_ path: String) -> String? {
    let descriptor = open("/proc/sys/\(path)", O_RDONLY | O_CLOEXEC)
    guard descriptor >= 0 else { return nil }
    defer { close(descriptor) }
    var bytes = [UInt8](repeating: 0, count: 64)
    let count = read(descriptor, &bytes, bytes.count)
    guard count > 0 else { return nil }
    return String(decoding: bytes[..<count].filter { $0 != UInt8(ascii: "\n") }, as: UTF8.self)
}
