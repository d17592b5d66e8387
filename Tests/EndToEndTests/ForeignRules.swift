// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: natfleet contributors

import Testing

/// Rules that others keep on a NAT instance: as Docker and ufw write them, and in the style of iptables' own extension
/// tests. None of them concerns the traffic of these tests.
enum ForeignRules {
    /// Both families; `%loopback`, `%container` and `%network` differ.
    private static let docker = """
        *nat
        :DOCKER - [0:0]
        -A PREROUTING -m addrtype --dst-type LOCAL -j DOCKER
        -A OUTPUT ! -d %loopback -m addrtype --dst-type LOCAL -j DOCKER
        -A POSTROUTING -s %network ! -o docker0 -j MASQUERADE
        -A POSTROUTING -s %container -d %container -p tcp -m tcp --dport 80 -j MASQUERADE
        -A DOCKER -i docker0 -j RETURN
        -A DOCKER ! -i docker0 -p tcp -m tcp --dport 8080 -j DNAT --to-destination %target
        COMMIT
        *filter
        :FORWARD DROP [0:0]
        :DOCKER - [0:0]
        :DOCKER-ISOLATION-STAGE-1 - [0:0]
        :DOCKER-ISOLATION-STAGE-2 - [0:0]
        :DOCKER-USER - [0:0]
        -A FORWARD -j DOCKER-USER
        -A FORWARD -j DOCKER-ISOLATION-STAGE-1
        -A FORWARD -o docker0 -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
        -A FORWARD -o docker0 -j DOCKER
        -A FORWARD -i docker0 ! -o docker0 -j ACCEPT
        -A FORWARD -i docker0 -o docker0 -j ACCEPT
        -A DOCKER -d %container ! -i docker0 -o docker0 -p tcp -m tcp --dport 80 -j ACCEPT
        -A DOCKER-ISOLATION-STAGE-1 -i docker0 ! -o docker0 -j DOCKER-ISOLATION-STAGE-2
        -A DOCKER-ISOLATION-STAGE-1 -j RETURN
        -A DOCKER-ISOLATION-STAGE-2 -o docker0 -j DROP
        -A DOCKER-ISOLATION-STAGE-2 -j RETURN
        -A DOCKER-USER -j RETURN
        COMMIT

        """

    static let docker4 = docker.replacing("%loopback", with: "127.0.0.0/8")
        .replacing("%network", with: "172.17.0.0/16").replacing("%container", with: "172.17.0.2/32")
        .replacing("%target", with: "172.17.0.2:80")
    static let docker6 = docker.replacing("%loopback", with: "::1/128")
        .replacing("%network", with: "fd00:d0c::/64").replacing("%container", with: "fd00:d0c::2/128")
        .replacing("%target", with: "[fd00:d0c::2]:80")

    /// The forwarding half of ufw's rules, which are the same in both families but for the prefix of their chains.
    private static let ufw = """
        *filter
        :ufw-after-forward - [0:0]
        :ufw-after-logging-forward - [0:0]
        :ufw-before-forward - [0:0]
        :ufw-before-logging-forward - [0:0]
        :ufw-logging-deny - [0:0]
        :ufw-reject-forward - [0:0]
        :ufw-track-forward - [0:0]
        :ufw-user-forward - [0:0]
        -A FORWARD -j ufw-before-logging-forward
        -A FORWARD -j ufw-before-forward
        -A FORWARD -j ufw-after-forward
        -A FORWARD -j ufw-after-logging-forward
        -A FORWARD -j ufw-reject-forward
        -A FORWARD -j ufw-track-forward
        -A ufw-before-forward -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
        -A ufw-before-forward -j ufw-user-forward
        -A ufw-after-logging-forward -m limit --limit 3/min --limit-burst 10 -j LOG --log-prefix "[UFW BLOCK] "
        -A ufw-logging-deny -m conntrack --ctstate INVALID -m limit --limit 3/min --limit-burst 10 -j RETURN
        -A ufw-logging-deny -m limit --limit 3/min --limit-burst 10 -j LOG --log-prefix "[UFW BLOCK] "
        COMMIT

        """
    static let ufw4 = ufw
    static let ufw6 = ufw.replacing("ufw-", with: "ufw6-")

    /// Families, table, rule, as arguments of a shell. The chain OTHERS is entered from FORWARD.
    static let extensions = """
        46 filter OTHERS -p tcp --dport 25 -m connlimit --connlimit-above 16 -j REJECT
        46 filter OTHERS -p udp -m hashlimit --hashlimit-above 50/sec --hashlimit-mode srcip --hashlimit-name syslog --dport 514 -j DROP
        46 filter OTHERS -p tcp -m limit --limit 10/min --limit-burst 7 -j LOG --log-prefix "new tcp: " --log-level 6
        46 filter OTHERS -p tcp -m multiport --dports 21,22,6000:6010 -j RETURN
        46 filter OTHERS -m mark --mark 0x2a/0xff -j ACCEPT
        46 filter OTHERS -m mac --mac-source 02:00:00:00:be:ef -j DROP
        46 filter OTHERS -p udp -m string --string 'probe "x"' --algo bm --to 100 -j DROP
        46 filter OTHERS -p tcp -m recent --name knock --rcheck --seconds 60 -j ACCEPT
        46 filter OTHERS -m comment --comment "it's natfleet: -A FORWARD -j NATFLEET-FWD" -j RETURN
        46 filter FORWARD -m comment --comment "before -j NATFLEET-FWD" -m mark --mark 0x2b -j ACCEPT
        46 filter OTHERS -p tcp -m tcpmss --mss 1:536 -j DROP
        4  filter OTHERS -m ttl --ttl-lt 3 -j DROP
        6  filter OTHERS -m hl --hl-lt 3 -j DROP
        46 filter OTHERS -m length --length 1400:65535 -j RETURN
        46 filter OTHERS -m statistic --mode nth --every 3 --packet 0 -j RETURN
        46 filter OTHERS -m time --timestart 01:00 --timestop 04:00 --weekdays Sat,Sun -j RETURN
        46 filter OUTPUT -m owner --uid-owner 1234 -j REJECT
        46 filter OTHERS -m state --state NEW -j RETURN
        46 filter OTHERS -m conntrack --ctstate UNTRACKED -j RETURN
        46 filter OTHERS -m addrtype --dst-type MULTICAST -j DROP
        46 filter OTHERS -p tcp -j NFLOG --nflog-group 5 --nflog-prefix web
        46 filter OTHERS -m connbytes --connbytes 1000000: --connbytes-dir both --connbytes-mode bytes -j RETURN
        46 filter OTHERS -m pkttype --pkt-type broadcast -j DROP
        4  filter OTHERS -m iprange --src-range 192.0.2.1-192.0.2.9 -j DROP
        46 filter OTHERS -m helper --helper ftp -j ACCEPT
        46 filter OTHERS -m u32 --u32 "0x0&0xff=0x1" -j DROP
        46 filter OTHERS -p 50 -m esp --espspi 500 -j ACCEPT
        46 mangle PREROUTING -m dscp --dscp-class EF -j CONNMARK --set-xmark 0x1/0xff
        46 mangle POSTROUTING -j CONNMARK --restore-mark --nfmask 0xff --ctmask 0xff
        46 mangle FORWARD -p tcp --tcp-flags SYN,RST SYN -j TCPMSS --clamp-mss-to-pmtu
        46 mangle PREROUTING -p udp --dport 5060 -j DSCP --set-dscp 0x2e
        46 mangle PREROUTING -p udp --dport 4500 -j MARK --set-xmark 0x40/0xff
        4  mangle PREROUTING -p udp --dport 5355 -j TTL --ttl-inc 1
        6  mangle PREROUTING -p udp --dport 5355 -j HL --hl-inc 1
        4  mangle PREROUTING -p udp --dport 2055 -j TEE --gateway 10.0.0.99
        6  mangle PREROUTING -p udp --dport 2055 -j TEE --gateway 2001:db8:0:100::99
        46 mangle PREROUTING -p tcp --dport 8123 -j TPROXY --on-port 3129 --tproxy-mark 0x1/0x1
        46 raw PREROUTING -p udp --dport 5354 -j CT --notrack
        46 raw PREROUTING -p tcp --dport 21 -j CT --helper ftp
        46 nat PREROUTING -p tcp --dport 3128 -j REDIRECT --to-ports 3129
        4  nat PREROUTING -d 10.0.0.200/32 -j NETMAP --to 10.0.0.201/32
        6  nat PREROUTING -d 2001:db8:0:100::200/128 -j NETMAP --to 2001:db8:0:100::201/128
        4  nat POSTROUTING -s 192.0.2.0/24 -j SNAT --to-source 192.0.2.250-192.0.2.254 --persistent
        6  nat POSTROUTING -s 2001:db8:aa::/64 -j SNAT --to-source 2001:db8:bb::1 --random-fully

        """

    /// Adds the extension rules that this kernel takes, from standard input; prints the number of those, by family.
    static let load = """
        declare -A taken=([4]=0 [6]=0)
        for program in iptables ip6tables; do $program -N OTHERS; $program -A FORWARD -j OTHERS; done
        while read -r families table rule; do
            for family in 4 6; do
                [[ $families == *$family* ]] || continue
                [[ $family == 4 ]] && program=iptables || program=ip6tables
                eval "$program -t $table -A $rule" 2>/dev/null && taken[$family]=$((taken[$family] + 1)) ||:
            done
        done
        echo "${taken[4]} ${taken[6]}"
        """
}

extension FleetLab {
    private static let ours = #"^(:NATFLEET-|-A NATFLEET-|-A [A-Z]+ -j NATFLEET-)"#

    /// What `iptables-save` and `ip6tables-save` print without natfleet's lines, counters and dates.
    func foreignRules(_ instance: String) async throws -> String {
        try await shell(
            instance,
            "for p in iptables ip6tables; do echo $p; $p-save | sed -E '/^#/d; s/\\[[0-9]+:[0-9]+\\]/[]/; /\(Self.ours)/d'; done"
        )
    }

    /// natfleet's own lines, counters aside.
    func ownRules(_ instance: String) async throws -> String {
        try await shell(
            instance,
            "for p in iptables ip6tables; do echo $p; $p-save | grep -E '\(Self.ours)' | sed 's/\\[0:0\\]//' ||:; done")
    }

    /// All rules, counters and dates aside.
    func allRules(_ instance: String) async throws -> String {
        try await shell(
            instance,
            "for p in iptables ip6tables; do echo $p; $p-save | sed -E '/^#/d; s/\\[[0-9]+:[0-9]+\\]/[]/'; done")
    }
}

/// Records how a text differs from what it was, line by line and in order.
func expectSame(
    _ before: String, _ after: String, _ what: String = "", sourceLocation: SourceLocation = #_sourceLocation
) {
    let (old, new) = (before.split(separator: "\n"), after.split(separator: "\n"))
    let changes = new.difference(from: old).map { change in
        switch change {
        case .insert(_, let line, _): "+ \(line)"
        case .remove(_, let line, _): "- \(line)"
        }
    }
    #expect(changes.isEmpty, "\(what) \(changes.joined(separator: "\n"))", sourceLocation: sourceLocation)
}
