// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: natfleet contributors

package import NetAddress

/// What a port forward takes for itself: protocol, destination and ports, per family. Two claims that overlap can't both
/// be true, whatever their sources are.
package struct DNATClaim: Hashable, Sendable {
    package var `protocol`: TransportProtocol
    package var family: IPFamily
    package var destination: DestinationChoice
    package var ports: PortRange

    package init(_ forward: PortForward) {
        self.protocol = forward.protocol
        self.family = forward.family
        self.destination = forward.destination
        self.ports = forward.port
    }

    /// Indices of two claims that overlap; `earlier` < `later`.
    package struct Overlap: Hashable, Sendable {
        package var earlier: Int
        package var later: Int
    }

    private struct Key: Hashable {
        var `protocol`: TransportProtocol
        var family: IPFamily
        var destination: DestinationChoice
    }

    /// For each claim that overlaps another one at least one such pair, in the order of `later`: no more than one a claim, so that
    /// thousands of equal claims don't make millions of pairs. O(n log n).
    package static func overlaps(among claims: [DNATClaim]) -> [Overlap] {
        let groups = Dictionary(grouping: claims.indices) { index in
            let claim = claims[index]
            return Key(protocol: claim.protocol, family: claim.family, destination: claim.destination)
        }
        var overlaps: [Overlap] = []
        for group in groups.values where group.count > 1 {
            let sorted = group.sorted { (claims[$0].ports.first, $0) < (claims[$1].ports.first, $1) }
            // Of the claims so far, the one that reaches furthest: whatever begins below its end overlaps it.
            var furthest = sorted[0]
            for index in sorted.dropFirst() {
                if claims[index].ports.first <= claims[furthest].ports.last {
                    overlaps.append(Overlap(earlier: min(index, furthest), later: max(index, furthest)))
                }
                if claims[index].ports.last > claims[furthest].ports.last { furthest = index }
            }
        }
        return overlaps.sorted { ($0.later, $0.earlier) < ($1.later, $1.earlier) }
    }
}

extension DNATClaim: CustomStringConvertible {
    /// `tcp self:8001`, `udp [2001:db8::1]:500-510`; the family where `self` does not show it.
    package var description: String {
        switch destination {
        case .instance: "\(`protocol`.rawValue) self:\(ports) (\(family.label))"
        case .address(let address): "\(`protocol`.rawValue) \(address.bracketed):\(ports)"
        }
    }
}
