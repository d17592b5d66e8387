// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: natfleet contributors

import AgentCore
import NATPolicy
import NetAddress

#if canImport(FoundationEssentials)
    import FoundationEssentials
#else
    import Foundation
#endif

/// Reads interfaces, addresses and routes with iproute2's JSON output (ip(8), `-json`).
enum FactGatherer {
    private struct Link: Decodable {
        struct Address: Decodable {
            var family: String
            var local: String?
            var prefixlen: Int
            var scope: String
            var temporary: Bool?
            var deprecated: Bool?
            var dadfailed: Bool?
        }

        private enum CodingKeys: String, CodingKey {
            case name = "ifname"
            case flags
            case addresses = "addr_info"
        }

        var name: String
        var flags: [String]
        var addresses: [Address]
    }

    private struct Route: Decodable {
        struct Hop: Decodable {
            var gateway: String?
            var dev: String?
        }

        var dst: String?
        var gateway: String?
        var dev: String?
        var metric: Int?
        var type: String?
        var nexthops: [Hop]?
    }

    /// Loopback and the probe's own interface left out. IPv6 global addresses come oldest first, as IPv4's do, so that a new one does not become the
    /// primary; temporary and failed ones are left out.
    static func interfaces(_ json: String) throws(KernelError) -> [HostFacts.Interface] {
        let links: [Link] = try decode(json, "ip address show")
        return links.filter { !$0.flags.contains("LOOPBACK") && $0.name != ProbeInterface.name }.map { link in
            let usable = link.addresses.filter { $0.temporary != true && $0.deprecated != true && $0.dadfailed != true }
            let ordered = usable.filter { $0.family == "inet" } + usable.filter { $0.family == "inet6" }.reversed()
            return HostFacts.Interface(
                name: link.name,
                addresses: ordered.compactMap { info in
                    guard let text = info.local, let address = try? IPAddress(text) else { return nil }
                    return HostFacts.Address(address, prefixLength: info.prefixlen)
                })
        }
    }

    /// Unicast routes of one family, the preferred first.
    static func routes(_ json: String, _ family: IPFamily) throws(KernelError) -> [HostFacts.Route] {
        let routes: [Route] = try decode(json, "ip route show")
        let unicast = routes.filter { $0.type == nil || $0.type == "unicast" }
        let sorted = unicast.enumerated().sorted {
            ($0.element.metric ?? 0, $0.offset) < ($1.element.metric ?? 0, $1.offset)
        }
        return sorted.compactMap { entry in
            let hop = entry.element.nexthops?.first
            guard let interface = entry.element.dev ?? hop?.dev, let text = entry.element.dst else { return nil }
            let destination = text == "default" ? CIDR.everything(family) : try? CIDR(text)
            guard let destination, interface != "lo", interface != ProbeInterface.name else { return nil }
            let gateway = (entry.element.gateway ?? hop?.gateway).flatMap { try? IPAddress($0) }
            return HostFacts.Route(destination: destination, interface: interface, gateway: gateway)
        }
    }

    /// `iptables v1.8.9 (nf_tables)`; before 1.8 there was no word in parentheses and only the legacy back end.
    static func iptables(_ text: String) throws(KernelError) -> HostFacts.Iptables {
        let words = text.split(whereSeparator: { $0 == " " || $0 == "\n" })
        guard let version = words.first(where: { $0.first == "v" && $0.dropFirst().first?.isNumber == true }) else {
            throw KernelError("iptables --version says '\(text.prefix(80))', which names no version")
        }
        return .init(backend: text.contains("(nf_tables)") ? .nft : .legacy, version: String(version.dropFirst()))
    }

    private static func decode<Value: Decodable>(_ json: String, _ command: String) throws(KernelError) -> Value {
        do {
            return try JSONDecoder().decode(Value.self, from: Data((json.isEmpty ? "[]" : json).utf8))
        } catch {
            throw KernelError("\(command): output is not what iproute2 prints: \(error)")
        }
    }
}
