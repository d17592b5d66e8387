// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: natfleet contributors

package import NetAddress

/// One rule. Its fields are the parts that `iptables-save` prints, in the order in which it prints them; a nil or empty
/// part is not there.
package struct Rule: Hashable, Sendable {
    package var source: CIDR?
    package var destination: CIDR?
    package var inInterface: String?
    package var outInterface: String?
    package var transport: TransportMatch?
    /// All of them have to match.
    package var connection: [ConnectionMatch]
    /// Cut to 255 bytes when written, what is not printable ASCII replaced.
    package var comment: String
    package var target: Target

    package init(
        source: CIDR? = nil,
        destination: CIDR? = nil,
        inInterface: String? = nil,
        outInterface: String? = nil,
        transport: TransportMatch? = nil,
        connection: [ConnectionMatch] = [],
        comment: String,
        target: Target
    ) {
        self.source = source
        self.destination = destination
        self.inInterface = inInterface
        self.outInterface = outInterface
        self.transport = transport
        self.connection = connection
        self.comment = comment
        self.target = target
    }
}

package enum TransportMatch: Hashable, Sendable {
    /// Whatever its ports are.
    case any(TransportProtocol)
    case ports(TransportProtocol, destination: PortRange)
    case icmpv6(type: UInt8)
}

/// `-m conntrack`.
package struct ConnectionMatch: Hashable, Sendable {
    /// In the order in which `iptables-save` lists them.
    package enum State: String, CaseIterable, Hashable, Sendable {
        case invalid = "INVALID"
        case new = "NEW"
        case related = "RELATED"
        case established = "ESTABLISHED"
        /// Not a state but the mark of a connection whose destination was rewritten: NEW and DNAT can both be true.
        case dnat = "DNAT"
    }

    package var states: Set<State>
    /// None of `states`.
    package var isInverted: Bool
    /// Before any DNAT, as the client wrote it.
    package var originalDestination: IPAddress?
    package var originalPorts: PortRange?

    package init(
        _ states: Set<State>,
        isInverted: Bool = false,
        originalDestination: IPAddress? = nil,
        originalPorts: PortRange? = nil
    ) {
        self.states = states
        self.isInverted = isInverted
        self.originalDestination = originalDestination
        self.originalPorts = originalPorts
    }
}

package enum Target: Hashable, Sendable {
    case accept
    case drop
    /// Into a chain of ours. What nothing there decides comes back to the next rule.
    case jump(String)
    /// Into a chain of ours. What nothing there decides goes back to where this rule's own chain was jumped to from.
    case goTo(String)
    case masquerade(randomFully: Bool)
    case dnat(IPAddress, TargetPorts)
}

/// What a DNAT does to the destination port.
package enum TargetPorts: Hashable, Sendable {
    /// Each port stays what it was.
    case unchanged
    /// All go to one.
    case single(UInt16)
    /// `base` goes to the first, the next one to the second and so on.
    case shifted(PortRange, base: UInt16)
}
