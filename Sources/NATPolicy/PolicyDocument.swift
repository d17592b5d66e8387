// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: natfleet contributors

package import NetAddress

/// A policy as its author meant it: parsed, valid, defaults left out where the author left them out.
///
/// Values of these types exist only for documents that passed validation; the canonical JSON of two documents is equal
/// exactly when they mean the same.
package struct PolicyDocument: Codable, Hashable, Sendable {
    package static let apiVersion = "natfleet/v1"
    package static let kind = "NATPolicy"

    package var name: String
    package var description: String?
    package var spec: PolicySpec

    package init(name: String, description: String? = nil, spec: PolicySpec) {
        self.name = name
        self.description = description
        self.spec = spec
    }
}

package struct PolicySpec: Codable, Hashable, Sendable {
    /// Order of layers; the lower comes first.
    package var priority: Int
    package var selector: Selector
    package var forwarding: Forwarding
    /// The first entry that matches a packet decides.
    package var masquerade: [Masquerade]
    package var dnat: [PortForward]
    /// nil: not said, which means on.
    package var `guard`: Bool?
    /// nil: not said, which means auto.
    package var conntrack: Conntrack?
    /// What clients must be able to reach; nil for nothing but what is always checked.
    package var probes: [ProbeTarget]?
    /// nil: not said.
    package var rollout: RolloutStrategy?

    package init(
        priority: Int = 100,
        selector: Selector,
        forwarding: Forwarding = Forwarding(),
        masquerade: [Masquerade] = [],
        dnat: [PortForward] = [],
        guard: Bool? = nil,
        conntrack: Conntrack? = nil,
        probes: [ProbeTarget]? = nil,
        rollout: RolloutStrategy? = nil
    ) {
        self.priority = priority
        self.selector = selector
        self.forwarding = forwarding
        self.masquerade = masquerade
        self.dnat = dnat
        self.guard = `guard`
        self.conntrack = conntrack
        self.probes = probes
        self.rollout = rollout
    }
}

/// Which instances a policy is for: those that carry every label of `matchLabels`, and those named.
package struct Selector: Codable, Hashable, Sendable {
    package var matchLabels: [String: String]
    package var instances: [String]

    package init(matchLabels: [String: String] = [:], instances: [String] = []) {
        self.matchLabels = matchLabels
        self.instances = instances
    }

    package func selects(instance id: String, labels: [String: String]) -> Bool {
        if instances.contains(id) { return true }
        return !matchLabels.isEmpty && matchLabels.allSatisfy { labels[$0.key] == $0.value }
    }
}

/// Families that must be forwarded; false leaves the sysctl as it is.
package struct Forwarding: Codable, Hashable, Sendable {
    package var ipv4: Bool
    package var ipv6: Bool

    package init(ipv4: Bool = false, ipv6: Bool = false) {
        self.ipv4 = ipv4
        self.ipv6 = ipv6
    }

    package subscript(family: IPFamily) -> Bool { family == .ipv4 ? ipv4 : ipv6 }

    /// Those that are forwarded.
    package var families: [IPFamily] { IPFamily.allCases.filter { self[$0] } }
}

package struct Masquerade: Codable, Hashable, Sendable {
    package var name: String
    /// nil: the families that the host can route.
    package var families: [IPFamily]?
    package var interface: InterfaceChoice
    package var sources: SourceChoice
    /// Destinations forwarded untranslated.
    package var except: [CIDR]
    package var randomFully: Bool

    package init(
        name: String,
        families: [IPFamily]? = nil,
        interface: InterfaceChoice = .auto,
        sources: SourceChoice = .vpc,
        except: [CIDR] = [],
        randomFully: Bool = true
    ) {
        self.name = name
        self.families = families
        self.interface = interface
        self.sources = sources
        self.except = except
        self.randomFully = randomFully
    }
}

package struct PortForward: Codable, Hashable, Sendable {
    package var name: String
    package var `protocol`: TransportProtocol
    package var destination: DestinationChoice
    package var port: PortRange
    /// The target; its ports are as many as `port`'s, the first for a range written with its first port only.
    package var to: Endpoint
    /// Who may use it; empty means anyone.
    package var sources: [CIDR]
    /// The target sees the instance's address as peer.
    package var masquerade: Bool
    /// Clients behind this instance may use destination:port too.
    package var hairpin: Bool
    /// Port 22 may be taken.
    package var allowSSH: Bool
    /// true: connections may finish when the forward is changed or removed; nil is false, left out as it came later.
    package var drain: Bool?

    package var family: IPFamily { to.address.family }

    package init(
        name: String,
        protocol: TransportProtocol,
        destination: DestinationChoice = .instance,
        port: PortRange,
        to: Endpoint,
        sources: [CIDR] = [],
        masquerade: Bool = false,
        hairpin: Bool = false,
        allowSSH: Bool = false,
        drain: Bool? = nil
    ) {
        self.name = name
        self.protocol = `protocol`
        self.destination = destination
        self.port = port
        self.to = to
        self.sources = sources
        self.masquerade = masquerade
        self.hairpin = hairpin
        self.allowSSH = allowSSH
        self.drain = drain
    }
}
