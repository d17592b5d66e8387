// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: natfleet contributors

import Glibc

/// Tells systemd that this service is ready, as sd_notify(3) does: a datagram to the socket that it names. Does nothing where
/// nobody waits to hear it.
///
/// - Parameter status: for `systemctl status`; one line.
/// - Returns: why it could not be told; nil where it was, or nobody asked.
func tellReady(status: String) -> String? {
    guard let value = getenv("NOTIFY_SOCKET") else { return nil }
    var path = Array(String(cString: value).utf8)
    // A name in the abstract namespace, which begins with a zero (unix(7)).
    if path.first == UInt8(ascii: "@") { path[0] = 0 }
    var address = sockaddr_un()
    address.sun_family = sa_family_t(AF_UNIX)
    let room = MemoryLayout.size(ofValue: address.sun_path)
    guard path.count < room else { return "NOTIFY_SOCKET is too long" }
    withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: path) }
    let length = socklen_t(MemoryLayout<sockaddr_un>.size - room + path.count)

    let descriptor = socket(AF_UNIX, Int32(SOCK_DGRAM.rawValue | SOCK_CLOEXEC.rawValue), 0)
    guard descriptor >= 0 else { return String(cString: strerror(errno)) }
    defer { close(descriptor) }
    let message = Array("READY=1\nSTATUS=\(status)".utf8)
    let sent = withUnsafePointer(to: address) {
        $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
            sendto(descriptor, message, message.count, Int32(MSG_NOSIGNAL), $0, length)
        }
    }
    return sent == message.count ? nil : String(cString: strerror(errno))
}
