// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: natfleet contributors

/// All that the reconciler works with, on the real machine or on a made-up one.
package struct Machinery: Sendable {
    package var kernel: any Kernel
    package var flows: any FlowTable
    package var files: any StateFiles
    /// nil where nobody sends packets: at boot, before there is an agent.
    package var probe: (any DataPathProbe)?
    package var persistence: (any Persistence)?
    /// nil where nobody knows.
    package var memoryKiB: Int?
    package var conntrack: @Sendable () -> ConntrackUsage?

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
