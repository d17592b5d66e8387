// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: natfleet contributors

package import NetAddress

/// All that the reconciler works with, on the real machine or on a made-up one.
package struct Machinery: Sendable {
    package var kernel: any Kernel
    package var flows: any FlowTable
    package var files: any StateFiles
    /// Where the agent tells what is the matter; nil where there is no place for that.
    package var told: (any StateFiles)?
    /// nil where nobody sends packets: at boot, before there is an agent.
    package var probe: (any DataPathProbe)?
    package var persistence: (any Persistence)?
    /// nil where nobody knows.
    package var memoryKiB: Int?
    package var conntrack: @Sendable () -> ConntrackUsage?
    /// Addresses of the host that are no facts: temporary ones, loopback's.
    package var ownAddresses: @Sendable () -> [IPAddress] = { [] }
    /// A number that grows with every link, address and route that comes, changes or goes, before anything is told of it;
    /// nil where nobody listens.
    package var networkNews: @Sendable () -> Int? = { nil }
    /// A number that grows when a program of the legacy back end may have changed rules; nil where nobody listens.
    package var lockNews: @Sendable () -> Int? = { nil }
    /// Gives memory that is free back to the system: what a change of ten thousand rules needed is not needed for months.
    package var trim: @Sendable () -> Void = {}
    /// Keeps bytes out of memory until they are asked for; nil where that cannot be done.
    package var shelve: @Sendable (_ bytes: [UInt8]) -> (@Sendable () throws(StateFileError) -> [UInt8])? = { _ in nil }
    /// From how many port forwards on that is worth it.
    package var manyForwards = 1000
    /// Called with the name of each step of a trial before it: where tests end the agent as a power cut would.
    package var reach: @Sendable (_ step: String) -> Void = { _ in }

    package init(
        kernel: any Kernel, flows: any FlowTable, files: any StateFiles, probe: (any DataPathProbe)? = nil,
        persistence: (any Persistence)? = nil, memoryKiB: Int? = nil,
        conntrack: @escaping @Sendable () -> ConntrackUsage? = { nil }
    ) {
        self.kernel = kernel
        self.flows = flows
        self.files = files
        self.probe = probe
        self.persistence = persistence
        self.memoryKiB = memoryKiB
        self.conntrack = conntrack
    }
}
