// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: natfleet contributors

import Testing

/// A NAT instance as people make them by hand, typed into a machine of the lab.
struct HandMadeBox: Sendable, CustomTestStringConvertible {
    var testDescription: String
    var instance = "nat-a"
    var backEnd = BackEnd.nft
    /// Shell. What was there before, which an import keeps as it is.
    var packaged = ""
    /// Shell. Settings of the kernel.
    var settings: String
    /// Those of them that rules tell nothing of, and an import therefore cannot take over.
    var untold = ""
    var rules: String
    /// Lines of a record (`FleetLab.record`) that show that the box works.
    var shows: [String]

    /// The seed's steps, both families.
    static let seed = HandMadeBox(
        testDescription: "the seed's",
        settings: """
            echo 1 >/proc/sys/net/ipv4/ip_forward
            echo 2 >/proc/sys/net/ipv6/conf/eth0/accept_ra
            echo 1 >/proc/sys/net/ipv6/conf/all/forwarding
            """,
        rules: """
            iptables -t nat -A POSTROUTING -o eth0 -j MASQUERADE
            iptables -A FORWARD -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
            ip6tables -t nat -A POSTROUTING -o eth0 -j MASQUERADE
            ip6tables -A FORWARD -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
            iptables -t nat -A PREROUTING -d 10.0.0.11 -p tcp --dport 8001 -j DNAT --to 10.0.1.80:80 \
                -m comment --comment "PortMapping"
            ip6tables -t nat -A PREROUTING -d 2001:db8:0:100::11 -p tcp --dport 8001 \
                -j DNAT --to-destination [2001:db8:0:101::80]:80 -m comment --comment "PortMapping"
            """,
        shows: [
            "client-a tcp 198.51.100.7 80: internet saw 203.0.113.11 on tcp/80",
            "client-a ping 2001:db8:ffff::7: answer from 2001:db8:ffff::7",
            "internet: icmp 0 2001:db8:0:100::11",
            // On one interface the masquerade of anything hides the peers of port forwards too.
            "outsider tcp 203.0.113.11 8001: server-a saw 10.0.0.11 on tcp/80",
            "outsider tcp 2001:db8:0:100::11 8001: server-a saw 2001:db8:0:100::11 on tcp/80",
        ])

    /// AWS's written procedure (FACTS §8), on the rules that iptables-services brings: its users flush FORWARD alone.
    static let aws = HandMadeBox(
        testDescription: "AWS's recipe",
        packaged: """
            iptables-restore <<'END'
            *filter
            :INPUT ACCEPT [0:0]
            :FORWARD ACCEPT [0:0]
            :OUTPUT ACCEPT [0:0]
            -A INPUT -m state --state RELATED,ESTABLISHED -j ACCEPT
            -A INPUT -p icmp -j ACCEPT
            -A INPUT -i lo -j ACCEPT
            -A INPUT -p tcp -m state --state NEW -m tcp --dport 22 -j ACCEPT
            -A INPUT -j REJECT --reject-with icmp-host-prohibited
            -A FORWARD -j REJECT --reject-with icmp-host-prohibited
            COMMIT
            END
            """,
        settings: "echo 1 >/proc/sys/net/ipv4/ip_forward",
        rules: """
            iptables -t nat -A POSTROUTING -o eth0 -j MASQUERADE
            iptables -F FORWARD
            """,
        shows: [
            "client-a udp 198.51.100.7 53: internet saw 203.0.113.11 on udp/53",
            "client-x tcp 198.51.100.7 443: internet saw 203.0.113.11 on tcp/443",
            "client-a tcp 2001:db8:ffff::7 80: nothing",
        ])

    /// What fck-nat.sh does. It translates no IPv6, and lets it pass.
    static let fckNAT = HandMadeBox(
        testDescription: "fck-nat's",
        settings: """
            echo 1 >/proc/sys/net/ipv4/ip_forward
            for file in /proc/sys/net/ipv4/conf/*/rp_filter; do echo 0 >$file; done
            """,
        untold: """
            echo 2 >/proc/sys/net/ipv6/conf/eth0/accept_ra
            echo 1 >/proc/sys/net/ipv6/conf/all/forwarding
            """,
        rules: """
            iptables -t nat -F
            iptables -t nat -A POSTROUTING -o eth0 -j MASQUERADE \
                -m comment --comment "NAT routing rule installed by fck-nat"
            """,
        shows: [
            "client-a tcp 198.51.100.7 80: internet saw 203.0.113.11 on tcp/80",
            "client-a tcp 2001:db8:ffff::7 80: internet saw 2001:db8:0:101::10 on tcp/80",
        ])

    /// int128's module on two interfaces, the second outside, with the port forward of its example.
    static let int128 = HandMadeBox(
        testDescription: "int128's", instance: "nat-c", backEnd: .legacy,
        settings: """
            echo 1 >/proc/sys/net/ipv4/ip_forward
            echo 0 >/proc/sys/net/ipv4/conf/eth1/send_redirects
            for file in /proc/sys/net/ipv4/conf/*/rp_filter; do echo 0 >$file; done
            """,
        rules: """
            iptables -t nat -A POSTROUTING -o eth1 -j MASQUERADE
            iptables -t nat -I PREROUTING 1 -m tcp -p tcp --dst 10.0.0.13 --dport 80 -j DNAT --to-destination 10.0.3.80:80
            """,
        shows: [
            "client-c udp 198.51.100.7 123: internet saw 203.0.113.13 on udp/123",
            "internet: icmp 0 203.0.113.13",
            "outsider tcp 203.0.113.13 80: server-c saw 198.51.100.99 on tcp/80",
        ])

    static let all = [seed, aws, fckNAT, int128]
}
