// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: natfleet contributors

/// What the tracked flows tell before a change, in one look: the kernel may walk its whole table for each.
struct FlowLook: Sendable {
    /// Who uses this instance.
    var clients: ClientsInUse
    /// Whose the probe's addresses are; nil where the kernel did not say.
    var addresses: AddressSightings?

    /// As the kernel knows them now; nobody where it does not say.
    func looking(at flows: any FlowTable) -> FlowLook {
        var found = self
        do throws(KernelError) {
            try flows.forEach { flow in
                found.clients.see(flow)
                found.addresses?.see(flow)
            }
        } catch {
            found.addresses = nil
        }
        return found
    }
}
