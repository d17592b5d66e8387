// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: natfleet contributors

import Glibc
import NetAddress

/// An interface's addresses as they are now, those included that are no facts: MASQUERADE takes temporary ones where
/// `use_tempaddr` prefers them.
func addresses(of interface: String) -> Set<IPAddress> {
    var first: UnsafeMutablePointer<ifaddrs>?
    guard getifaddrs(&first) == 0 else { return [] }
    defer { freeifaddrs(first) }
    var found: Set<IPAddress> = []
    for entry in sequence(first: first, next: { $0?.pointee.ifa_next }) {
        guard let entry, String(cString: entry.pointee.ifa_name) == interface, let socket = entry.pointee.ifa_addr,
            let address = IPAddress(socket)
        else { continue }
        found.insert(address)
    }
    return found
}

extension IPAddress {
    /// nil for an address of another kind.
    fileprivate init?(_ socket: UnsafePointer<sockaddr>) {
        switch Int32(socket.pointee.sa_family) {
        case AF_INET:
            let number = socket.withMemoryRebound(to: sockaddr_in.self, capacity: 1) { $0.pointee.sin_addr.s_addr }
            self.init(family: .ipv4, bits: UInt128(UInt32(bigEndian: number)))
        case AF_INET6:
            let bits = socket.withMemoryRebound(to: sockaddr_in6.self, capacity: 1) { socket in
                withUnsafeBytes(of: socket.pointee.sin6_addr) { $0.loadUnaligned(as: UInt128.self) }
            }
            self.init(family: .ipv6, bits: UInt128(bigEndian: bits))
        default: return nil
        }
    }
}
