// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: natfleet contributors

package import AgentCore
import Glibc
import NetAddress

/// The connection tracking table of the network namespace that the calling thread is in.
///
/// Needs CAP_NET_ADMIN, and the kernel's nf_conntrack_netlink, which it loads itself where it may.
package struct ConntrackTable: FlowTable {
    package init() {}

    package func forEach(_ body: (TrackedFlow) -> Void) throws(KernelError) {
        do throws(NetlinkError) {
            try each(pages: 16, body)
        } catch {
            throw KernelError("reading the connection tracking table: \(error.text)")
        }
    }

    private func each(pages: Int, _ body: (TrackedFlow) -> Void) throws(NetlinkError) {
        guard let few = fewFlows(pages: pages) else { return try dump(body) }
        var socket = try NetlinkSocket(NetlinkNumber.netfilter)
        for tuple in few {
            if let flow = try socket.lookup(tuple), flow.original == tuple { body(flow) }
        }
    }

    func dump(_ body: (TrackedFlow) -> Void) throws(NetlinkError) {
        var socket = try NetlinkSocket(NetlinkNumber.netfilter)
        // AF_UNSPEC: both families in one walk.
        try socket.dump(NetfilterType.getFlow, NetfilterType.header(familyNumber: 0)) { message in
            if let flow = message.flow { body(flow) }
        }
    }

    package func lookup(_ original: FlowTuple) throws(KernelError) -> TrackedFlow? {
        do throws(NetlinkError) {
            var socket = try NetlinkSocket(NetlinkNumber.netfilter)
            return try socket.lookup(original)
        } catch {
            throw KernelError("looking for a tracked flow: \(error.text)")
        }
    }

    @discardableResult package func delete(_ flow: TrackedFlow) throws(KernelError) -> Bool {
        do throws(NetlinkError) {
            var socket = try NetlinkSocket(NetlinkNumber.netfilter)
            return try socket.delete(flow)
        } catch {
            throw KernelError("deleting a tracked flow: \(error.text)")
        }
    }

    @discardableResult package func sweep(where isStale: (TrackedFlow) -> Bool) throws(KernelError) -> Int {
        var deleted = 0
        var failure: NetlinkError?
        do throws(NetlinkError) {
            var socket = try NetlinkSocket(NetlinkNumber.netfilter)
            try each(pages: 1) { flow in
                guard isStale(flow) else { return }
                do throws(NetlinkError) {
                    if try socket.delete(flow) { deleted += 1 }
                } catch {
                    failure = error
                }
            }
        } catch {
            failure = error
        }
        if let failure { throw KernelError("deleting tracked flows: \(failure.text)") }
        return deleted
    }
}

extension NetlinkSocket {
    /// Outside of all zones; nil where there is none.
    fileprivate mutating func lookup(_ original: FlowTuple) throws(NetlinkError) -> TrackedFlow? {
        var payload = NetfilterType.header(familyNumber: original.family.familyNumber)
        payload.appendOriginal(original)
        do throws(NetlinkError) {
            return try request(NetfilterType.getFlow, payload)?.flow
        } catch {
            if error.code == ENOENT { return nil }
            throw error
        }
    }

    /// The tuple is always there: a request without one would empty the whole table.
    fileprivate mutating func delete(_ flow: TrackedFlow) throws(NetlinkError) -> Bool {
        var payload = NetfilterType.header(familyNumber: flow.family.familyNumber)
        payload.appendOriginal(flow.original, zone: flow.originalZone)
        payload.appendAttribute(FlowAttribute.id) { $0.append(big: flow.id) }
        if flow.zone != 0 { payload.appendAttribute(FlowAttribute.zone) { $0.append(big: flow.zone) } }
        do throws(NetlinkError) {
            _ = try request(NetfilterType.deleteFlow, payload, .acknowledge)
            return true
        } catch {
            if error.code == ENOENT { return false }
            throw error
        }
    }
}

extension NetlinkMessage {
    /// What an IPCTNL_MSG_CT_NEW tells; nil for anything else.
    fileprivate var flow: TrackedFlow? {
        guard type == NetfilterType.newFlow, let number = payload.first,
            let family = IPFamily.allCases.first(where: { $0.familyNumber == number })
        else { return nil }
        return TrackedFlow(attributes: payload.dropFirst(NetfilterType.headerLength), family)
    }
}
