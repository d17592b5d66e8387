// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: natfleet contributors

import NetAddress
import Netfilter

/// What a port forward is in one chain, for one address.
struct PortRules {
    let destination: IPAddress
    let transport: TransportProtocol
    /// As clients write them. No two for one destination and transport overlap.
    let ports: PortRange
    let rules: [Rule]
}

/// Keeps a new connection cheap however many port forwards there are.
///
/// Up to `limit` port forwards of one address and protocol stand in the chain itself. More are spread over a tree of
/// chains: one for the address and protocol, below it one for each thousand of ports that is in use, below that for each
/// hundred, then for each 25. A packet meets at most 66 + 10 + 4 + 25 rules on its way down, besides ranges.
///
/// The blocks are fixed, so what a port forward is told by depends on its own ports only: adding or removing one
/// rewrites the chain that holds it, and the one above where the block was empty before or is afterwards. A range that
/// crosses a border stands in the lowest chain whose block holds all of it, ahead of the gotos into parts of it. Each
/// crosses a border that no other one crosses, so there are never more of them in a chain than gotos.
///
/// The first chain is entered with a jump, the ones below with a goto: what no rule in there decides comes back to the
/// rule after the jump at once.
struct PortTree {
    /// By what a rule tells the port that the client wrote.
    enum PortMatch {
        /// The packet's own: before DNAT.
        case written
        /// What the connection began with: after DNAT. Only connections that were turned round have it.
        case original
    }

    private static let limit = 16
    /// With how many of a port's five digits a block's name tells where it begins.
    private static let blocks: [(size: UInt16, digits: Int)] = [(1000, 2), (100, 3), (25, 5)]
    private static let comment = "natfleet:ports"

    private let tags: [IPAddress: String]

    init(_ destinations: Set<IPAddress>) { tags = Self.tags(destinations) }

    /// - Returns: the rules that stand in `chain`, and the chains below it.
    func spread(_ items: [PortRules], in chain: String, by match: PortMatch) -> (rules: [Rule], below: [Chain]) {
        let groups = Dictionary(grouping: items) { Group(destination: $0.destination, transport: $0.transport) }
            .filter { $0.value.count > Self.limit }
        var rules = items.filter { groups[Group(destination: $0.destination, transport: $0.transport)] == nil }
            .flatMap(\.rules)
        var below: [Chain] = []
        for (group, items) in groups.sorted(by: { $0.key < $1.key }) {
            let name = "\(chain)-\(group.transport.rawValue)\(tags[group.destination, default: ""])"
            rules.append(entry(to: name, group, match))
            let branch = Branch(root: name, name: name, level: 0, group: group, match: match)
            add(branch, items.sorted { $0.ports < $1.ports }, to: &below)
        }
        return (rules, below)
    }

    private struct Group: Hashable, Comparable {
        let destination: IPAddress
        let transport: TransportProtocol

        static func < (left: Group, right: Group) -> Bool {
            (left.destination, left.transport) < (right.destination, right.transport)
        }
    }

    private struct Branch {
        let root: String
        let name: String
        let level: Int
        let group: Group
        let match: PortMatch
    }

    private func add(_ branch: Branch, _ items: [PortRules], to chains: inout [Chain]) {
        guard branch.level < Self.blocks.count else {
            chains.append(Chain(name: branch.name, rules: items.flatMap(\.rules)))
            return
        }
        var rules: [Rule] = []
        var blocks: [(ports: PortRange, items: [PortRules])] = []
        for item in items {
            guard let block = item.ports.block(of: Self.blocks[branch.level].size) else {
                rules += item.rules
                continue
            }
            if blocks.last?.ports != block { blocks.append((block, [])) }
            blocks[blocks.count - 1].items.append(item)
        }
        let position = chains.count
        chains.append(Chain(name: branch.name, rules: []))
        for block in blocks {
            let below = Branch(
                root: branch.root, name: name(of: block.ports, below: branch), level: branch.level + 1,
                group: branch.group,
                match: branch.match)
            rules.append(goTo(below.name, block.ports, branch))
            add(below, block.items, to: &chains)
        }
        chains[position].rules = rules
    }

    // MARK: Rules between chains

    private func entry(to chain: String, _ group: Group, _ match: PortMatch) -> Rule {
        switch match {
        case .written:
            Rule(
                destination: CIDR(group.destination, prefixLength: group.destination.family.bits),
                transport: .any(group.transport),
                comment: Self.comment,
                target: .jump(chain)
            )
        case .original:
            Rule(
                transport: .any(group.transport),
                connection: [ConnectionMatch([.dnat], originalDestination: group.destination)],
                comment: Self.comment,
                target: .jump(chain)
            )
        }
    }

    private func goTo(_ chain: String, _ ports: PortRange, _ branch: Branch) -> Rule {
        switch branch.match {
        case .written:
            Rule(
                transport: .ports(branch.group.transport, destination: ports), comment: Self.comment,
                target: .goTo(chain))
        case .original:
            Rule(
                connection: [ConnectionMatch([.dnat], originalPorts: ports)], comment: Self.comment,
                target: .goTo(chain))
        }
    }

    // MARK: Names

    /// `NATFLEET-POST-tcp1a2b3`, below it `…-08`, `…-081` and `NATFLEET-POST-tcp1a2b3-08125`: 28 characters, which is what
    /// the kernel takes.
    private func name(of block: PortRange, below branch: Branch) -> String {
        let (size, digits) = Self.blocks[branch.level]
        // The first block would begin with port 0, which is none.
        let begin = padded(Int(block.first / size * size), 5).prefix(digits)
        return "\(branch.root)-\(begin)"
    }

    private func padded(_ number: Int, _ digits: Int) -> String {
        let text = String(number)
        return String(repeating: "0", count: digits - text.count) + text
    }

    /// Five hexadecimal digits for each address, since IPv6 leaves no room to write it out. They depend on the address
    /// alone unless two addresses meet in the same ones, one time in a million; then the higher address takes others.
    private static func tags(_ addresses: Set<IPAddress>) -> [IPAddress: String] {
        var tags: [IPAddress: String] = [:]
        var used: Set<UInt64> = []
        for address in addresses.sorted() {
            var salt: UInt64 = 0
            while !used.insert(digest(address, salt)).inserted { salt += 1 }
            let text = String(digest(address, salt), radix: 16)
            tags[address] = String(repeating: "0", count: 5 - text.count) + text
        }
        return tags
    }

    /// FNV-1a, folded to 20 bits.
    private static func digest(_ address: IPAddress, _ salt: UInt64) -> UInt64 {
        var hash: UInt64 = 0xcbf2_9ce4_8422_2325 ^ salt
        for shift in stride(from: 120, through: 0, by: -8) {
            hash = (hash ^ UInt64(truncatingIfNeeded: address.bits >> UInt128(shift) & 0xff)) &* 0x100_0000_01b3
        }
        return (hash >> 40 ^ hash >> 20 ^ hash) & 0xf_ffff
    }
}
