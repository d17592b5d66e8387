// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: natfleet contributors

import NetAddress
import Netfilter

/// A rule of every shape that the compiler writes and the line that the kernel prints back (`KernelTextSerial` asks it).
struct RuleShape {
    let rule: Rule
    let chain: String
    let line: String

    static func all(_ family: IPFamily) throws -> [RuleShape] {
        family == .ipv4 ? try ipv4() : try ipv6()
    }

    private static func ipv4() throws -> [RuleShape] {
        let (own, target) = (try IPAddress("10.0.0.1"), try IPAddress("10.0.1.1"))
        let range = try PortRange("8000-8019")
        let turned = ConnectionMatch([.dnat], originalDestination: own, originalPorts: try PortRange(8001))
        return [
            RuleShape(
                rule: Rule(
                    source: try CIDR("198.51.100.0/24"), destination: try CIDR("10.0.0.1"),
                    transport: .ports(.tcp, destination: try PortRange(8001)), comment: "natfleet:web/PortMapping",
                    target: .dnat(target, .single(80))),
                chain: "NATFLEET-PRE",
                line: "-A NATFLEET-PRE -s 198.51.100.0/24 -d 10.0.0.1/32 -p tcp -m tcp --dport 8001 "
                    + "-m comment --comment \"natfleet:web/PortMapping\" -j DNAT --to-destination 10.0.1.1:80"),
            RuleShape(
                rule: Rule(
                    destination: try CIDR("10.0.0.1"), transport: .ports(.udp, destination: range), comment: "bare",
                    target: .dnat(target, .unchanged)),
                chain: "NATFLEET-PRE",
                line: "-A NATFLEET-PRE -d 10.0.0.1/32 -p udp -m udp --dport 8000:8019 -m comment --comment bare "
                    + "-j DNAT --to-destination 10.0.1.1"),
            RuleShape(
                rule: Rule(
                    destination: try CIDR("10.0.0.1"), transport: .ports(.tcp, destination: range),
                    comment: "two words, a \"quote\", it's a \\ there",
                    target: .dnat(target, .shifted(try PortRange("9000-9019"), base: 8000))),
                chain: "NATFLEET-PRE",
                line: "-A NATFLEET-PRE -d 10.0.0.1/32 -p tcp -m tcp --dport 8000:8019 "
                    + #"-m comment --comment "two words, a \"quote\", it\'s a \\ there" "#
                    + "-j DNAT --to-destination 10.0.1.1:9000-9019/8000"),
            RuleShape(
                rule: Rule(
                    source: try CIDR("10.0.1.0/24"), destination: try CIDR("10.0.1.1"),
                    transport: .ports(.tcp, destination: try PortRange(80)), connection: [turned],
                    comment: "natfleet:web/PortMapping", target: .masquerade(randomFully: true)),
                chain: "NATFLEET-POST",
                line: "-A NATFLEET-POST -s 10.0.1.0/24 -d 10.0.1.1/32 -p tcp -m tcp --dport 80 -m conntrack "
                    + "--ctstate DNAT --ctorigdst 10.0.0.1 --ctorigdstport 8001 "
                    + "-m comment --comment \"natfleet:web/PortMapping\" -j MASQUERADE --random-fully"),
            RuleShape(
                rule: Rule(
                    source: .everything(.ipv4), destination: try CIDR("10.0.0.0/8"), outInterface: "eth0",
                    comment: "", target: .accept),
                chain: "NATFLEET-POST",
                line: "-A NATFLEET-POST -d 10.0.0.0/8 -o eth0 -m comment --comment \"\" -j ACCEPT"),
            RuleShape(
                rule: Rule(
                    outInterface: "eth0.100", comment: "natfleet:web/egress", target: .masquerade(randomFully: false)),
                chain: "NATFLEET-POST",
                line: "-A NATFLEET-POST -o eth0.100 -m comment --comment \"natfleet:web/egress\" -j MASQUERADE"),
            RuleShape(
                rule: Rule(
                    connection: [ConnectionMatch([.established, .related])], comment: "natfleet:established",
                    target: .accept),
                chain: "NATFLEET-FWD",
                line: "-A NATFLEET-FWD -m conntrack --ctstate RELATED,ESTABLISHED "
                    + "-m comment --comment \"natfleet:established\" -j ACCEPT"),
            RuleShape(
                rule: Rule(
                    destination: try CIDR("10.0.1.1"), transport: .ports(.udp, destination: try PortRange("9000-9019")),
                    connection: [ConnectionMatch([.dnat], originalDestination: own, originalPorts: range)],
                    comment: "natfleet:web/r", target: .accept),
                chain: "NATFLEET-FWD",
                line: "-A NATFLEET-FWD -d 10.0.1.1/32 -p udp -m udp --dport 9000:9019 -m conntrack --ctstate DNAT "
                    + "--ctorigdst 10.0.0.1 --ctorigdstport 8000:8019 -m comment --comment \"natfleet:web/r\" -j ACCEPT"
            ),
            RuleShape(
                rule: Rule(
                    inInterface: "eth1", outInterface: "eth0",
                    connection: [ConnectionMatch([.new, .invalid]), ConnectionMatch([.dnat], isInverted: true)],
                    comment: "natfleet:guard", target: .drop),
                chain: "NATFLEET-FWD",
                line:
                    "-A NATFLEET-FWD -i eth1 -o eth0 -m conntrack --ctstate INVALID,NEW -m conntrack ! --ctstate DNAT "
                    + "-m comment --comment \"natfleet:guard\" -j DROP"),
        ]
    }

    private static func ipv6() throws -> [RuleShape] {
        let (own, target) = (try IPAddress("2001:db8::1"), try IPAddress("2001:db8:0:2::1"))
        let range = try PortRange("8000-8019")
        return [
            RuleShape(
                rule: Rule(
                    source: try CIDR("2001:db8:9::/48"), destination: try CIDR("2001:db8::1"),
                    transport: .ports(.tcp, destination: try PortRange(8001)), comment: "natfleet:web/PortMapping",
                    target: .dnat(target, .single(80))),
                chain: "NATFLEET-PRE",
                line: "-A NATFLEET-PRE -s 2001:db8:9::/48 -d 2001:db8::1/128 -p tcp -m tcp --dport 8001 "
                    + "-m comment --comment \"natfleet:web/PortMapping\" -j DNAT --to-destination [2001:db8:0:2::1]:80"),
            RuleShape(
                rule: Rule(
                    destination: try CIDR("2001:db8::1"), transport: .ports(.udp, destination: range),
                    comment: "natfleet:web/r", target: .dnat(target, .unchanged)),
                chain: "NATFLEET-PRE",
                line: "-A NATFLEET-PRE -d 2001:db8::1/128 -p udp -m udp --dport 8000:8019 "
                    + "-m comment --comment \"natfleet:web/r\" -j DNAT --to-destination 2001:db8:0:2::1"),
            RuleShape(
                rule: Rule(
                    destination: try CIDR("2001:db8::1"), transport: .ports(.tcp, destination: range),
                    comment: "natfleet:web/r", target: .dnat(target, .shifted(try PortRange("9000-9019"), base: 8000))),
                chain: "NATFLEET-PRE",
                line: "-A NATFLEET-PRE -d 2001:db8::1/128 -p tcp -m tcp --dport 8000:8019 -m comment --comment "
                    + "\"natfleet:web/r\" -j DNAT --to-destination [2001:db8:0:2::1]:9000-9019/8000"),
            RuleShape(
                rule: Rule(
                    source: try CIDR("2001:db8:0:2::/64"), outInterface: "eth0", comment: "natfleet:web/egress",
                    target: .masquerade(randomFully: true)),
                chain: "NATFLEET-POST",
                line: "-A NATFLEET-POST -s 2001:db8:0:2::/64 -o eth0 -m comment --comment \"natfleet:web/egress\" "
                    + "-j MASQUERADE --random-fully"),
            RuleShape(
                rule: Rule(
                    destination: try CIDR("2001:db8:0:2::1"), transport: .ports(.tcp, destination: try PortRange(80)),
                    connection: [ConnectionMatch([.dnat], originalDestination: own, originalPorts: range)],
                    comment: "natfleet:web/r", target: .accept),
                chain: "NATFLEET-FWD",
                line: "-A NATFLEET-FWD -d 2001:db8:0:2::1/128 -p tcp -m tcp --dport 80 -m conntrack --ctstate DNAT "
                    + "--ctorigdst 2001:db8::1 --ctorigdstport 8000:8019 -m comment --comment \"natfleet:web/r\" -j ACCEPT"
            ),
            RuleShape(
                rule: Rule(
                    inInterface: "eth0", outInterface: "eth0",
                    connection: [ConnectionMatch([.new, .invalid]), ConnectionMatch([.dnat], isInverted: true)],
                    comment: "natfleet:guard", target: .drop),
                chain: "NATFLEET-FWD",
                line:
                    "-A NATFLEET-FWD -i eth0 -o eth0 -m conntrack --ctstate INVALID,NEW -m conntrack ! --ctstate DNAT "
                    + "-m comment --comment \"natfleet:guard\" -j DROP"),
            RuleShape(
                rule: Rule(
                    outInterface: "eth0", transport: .icmpv6(type: 137), comment: "natfleet:redirects", target: .drop),
                chain: "NATFLEET-OUT",
                line: "-A NATFLEET-OUT -o eth0 -p ipv6-icmp -m icmp6 --icmpv6-type 137 "
                    + "-m comment --comment \"natfleet:redirects\" -j DROP"),
        ]
    }

    /// All of them as one family's rules.
    static func rules(_ family: IPFamily) throws -> FamilyRules {
        let shapes = try all(family)
        func rules(_ chain: String) -> [Rule] { shapes.filter { $0.chain == chain }.map(\.rule) }
        var result = FamilyRules()
        result.filter.add("NATFLEET-FWD", from: .forward, rules: rules("NATFLEET-FWD"))
        result.filter.add("NATFLEET-OUT", from: .output, rules: rules("NATFLEET-OUT"))
        result.nat.add("NATFLEET-PRE", from: .prerouting, rules: rules("NATFLEET-PRE"))
        result.nat.add("NATFLEET-POST", from: .postrouting, rules: rules("NATFLEET-POST"))
        return result
    }
}
