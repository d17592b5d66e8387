// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: natfleet contributors

package import NetAddress

/// Devices, their addresses and routes in the network namespace that the calling thread is in. Calls block for
/// microseconds, or as long as somebody else holds the kernel's lock on them.
package protocol Links: Sendable {
    /// A pair of veth devices, one end in the network namespace of an open file. Neither end speaks ARP; both have the same
    /// hardware address of six bytes.
    func addPair(_ name: String, peer: String, in namespace: Int32, hardware: [UInt8]) throws(KernelError)
    func setUp(_ name: String) throws(KernelError)
    func delete(_ name: String) throws(KernelError)
    /// The address alone, of no network on the link; in IPv6 nobody is asked whether it is taken.
    func add(_ address: IPAddress, to name: String) throws(KernelError)
    /// Everything of a family goes out by a device.
    func addDefaultRoute(_ family: IPFamily, by name: String) throws(KernelError)
    /// Addresses of others on the links, as far as their hardware address is known.
    /// - Parameter device: whose neighbours do not count.
    func neighbours(except device: String) throws(KernelError) -> Set<IPAddress>
}
