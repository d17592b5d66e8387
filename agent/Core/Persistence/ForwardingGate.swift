// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: natfleet contributors

import NATPolicy
package import NetAddress

/// For the worst day of this field: the rules could not be put back at boot, and somebody's sysctl file has turned
/// forwarding on already. Better no NAT than private sources on the internet.
package struct ForwardingGate: Sendable {
    let kernel: any Kernel

    package init(kernel: any Kernel) { self.kernel = kernel }

    /// Turns forwarding off in the families that natfleet forwards; others were never its own. The next change that
    /// verifies its rules turns it on again.
    /// - Returns: what was done and what could not be, as sentences; empty where nothing forwarded.
    package func close(_ families: [IPFamily]) -> [String] {
        families.compactMap { family in
            let key = family.forwardingKey
            do throws(KernelError) {
                guard let now = try kernel.sysctl(key), now != "0" else { return nil }
                try kernel.setSysctl(key, "0")
                return "\(key) was \(now) without natfleet's rules and is 0 now"
            } catch {
                return "\(key) stays as it is, without natfleet's rules: \(error)"
            }
        }
    }
}
