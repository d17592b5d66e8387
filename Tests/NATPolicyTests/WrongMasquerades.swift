// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: natfleet contributors

/// The table of wrong policies: masquerades that can't be meant.
extension WrongPolicy {
    static let masquerades: [WrongPolicy] = [
        .init(
            "masquerade without a name",
            masquerade("sources: vpc"),
            7, 7, "spec.masquerade[0]",
            "missing key 'name'"),
        .init(
            "unknown family",
            masquerade("name: egress, families: [ip4]"),
            7, 33, "spec.masquerade[0].families[0]",
            "'ip4' is not ipv4 or ipv6"),
        .init(
            "family listed twice",
            masquerade("name: egress, families: [ipv4, ipv4]"),
            7, 39, "spec.masquerade[0].families[1]",
            "ipv4 is listed twice"),
        .init(
            "no family",
            masquerade("name: egress, families: []"),
            7, 32, "spec.masquerade[0].families",
            "names no family"),
        .init(
            "interface with a blank",
            masquerade(#"name: egress, interface: "eth0 -j DROP""#),
            7, 33, "spec.masquerade[0].interface",
            "'eth0 -j DROP' is not the name of an interface"),
        .init(
            "interface with a plus",
            masquerade("name: egress, interface: eth+"),
            7, 33, "spec.masquerade[0].interface",
            "'eth+' is not the name of an interface"),
        .init(
            "interface of 16 characters",
            masquerade("name: egress, interface: abcdefghijklmnop"),
            7, 33, "spec.masquerade[0].interface",
            "'abcdefghijklmnop' is not the name of an interface"),
        .init(
            "interface of a folder of sysctls",
            masquerade("name: egress, interface: all"),
            7, 33, "spec.masquerade[0].interface",
            "'all' is not the name of an interface"),
        .init(
            "loopback interface",
            masquerade("name: egress, interface: lo"),
            7, 33, "spec.masquerade[0].interface",
            "nothing leaves by the loopback interface"),
        .init(
            "network with host bits",
            masquerade("name: egress, sources: [10.0.0.1/16]"),
            7, 32, "spec.masquerade[0].sources[0]",
            "'10.0.0.1/16' has host bits set"),
        .init(
            "bad CIDR",
            masquerade("name: egress, sources: [10.0.0.0/33]"),
            7, 32, "spec.masquerade[0].sources[0]",
            "'10.0.0.0/33' has no prefix length between 0 and 32"),
        .init(
            "bad address",
            masquerade("name: egress, sources: [10.0.0.256/32]"),
            7, 32, "spec.masquerade[0].sources[0]",
            "'10.0.0.256' is not an IP address"),
        .init(
            "unknown word for sources",
            masquerade("name: egress, sources: all"),
            7, 31, "spec.masquerade[0].sources",
            "'all' is not a network, nor vpc or any"),
        .init(
            "word in the list of sources",
            masquerade("name: egress, sources: [any]"),
            7, 32, "spec.masquerade[0].sources[0]",
            "'any' can't stand in a list"),
        .init(
            "no source",
            masquerade("name: egress, sources: []"),
            7, 31, "spec.masquerade[0].sources",
            "is an empty list"),
        .init(
            "everybody in digits",
            masquerade("name: egress, sources: [0.0.0.0/0]"),
            7, 32, "spec.masquerade[0].sources[0]",
            "0.0.0.0/0 means everybody"),
        .init(
            "everybody in IPv6 digits",
            masquerade(#"name: egress, sources: "::/0""#),
            7, 31, "spec.masquerade[0].sources",
            "::/0 means everybody"),
        .init(
            "loopback source",
            masquerade("name: egress, sources: [127.0.0.0/8]"),
            7, 32, "spec.masquerade[0].sources[0]",
            "127.0.0.0/8 is loopback, which no client has"),
        .init(
            "IPv4 in IPv6",
            masquerade(#"name: egress, sources: ["::ffff:10.0.0.0/112"]"#),
            7, 32, "spec.masquerade[0].sources[0]",
            "::ffff:10.0.0.0 is an IPv4 address written as IPv6"),
        .init(
            "family without a source",
            masquerade("name: egress, families: [ipv4, ipv6], sources: [10.0.0.0/16]"),
            7, 39, "spec.masquerade[0].families[1]",
            "sources have no IPv6 network for this family"),
        .init(
            "source without its family",
            masquerade(#"name: egress, families: [ipv4], sources: [10.0.0.0/16, "2001:db8::/64"]"#),
            7, 63, "spec.masquerade[0].sources[1]",
            "2001:db8::/64 is IPv6, which families leave out"),
        .init(
            "excepted network without its family",
            masquerade(#"name: egress, families: [ipv4], except: ["fd00::/8"]"#),
            7, 49, "spec.masquerade[0].except[0]",
            "fd00::/8 is IPv6, which families leave out"),
        .init(
            "everything excepted",
            masquerade("name: egress, except: [0.0.0.0/0]"),
            7, 31, "spec.masquerade[0].except[0]",
            "0.0.0.0/0 excepts every destination"),
        .init(
            "entry name taken",
            masquerade("name: egress\nname: egress, sources: any"),
            8, 14, "spec.masquerade[1].name",
            "the name 'egress' is taken by the entry of line 7"),
    ]
}
