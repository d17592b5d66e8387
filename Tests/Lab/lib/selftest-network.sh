# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: natfleet contributors
# shellcheck shell=bash
# shellcheck disable=SC2154 # what selftest sets
#
# What goes through a lab, with rules typed by hand.

on() { "$lab" exec "$one" "$@"; }
ask() { "$lab" ask "$one" "$@"; }

# The seed's steps on an instance, for a private server behind it.
type_seed() {
    local instance=$1 number=$2 target4=$3 target6=$4
    # shellcheck disable=SC2016 # for the inner shell
    on "$instance" bash -ec '
        echo 2 >/proc/sys/net/ipv6/conf/eth0/accept_ra
        for key in all eth0; do echo 0 >/proc/sys/net/ipv4/conf/$key/send_redirects; done
        echo 1 >/proc/sys/net/ipv4/ip_forward
        echo 1 >/proc/sys/net/ipv6/conf/all/forwarding
        for program in iptables ip6tables; do
            $program -t nat -A POSTROUTING -o eth0 -j MASQUERADE
            $program -A FORWARD -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
        done
        iptables -t nat -A PREROUTING -d "$1" -p tcp --dport 8001 -m comment --comment PortMapping \
            -j DNAT --to-destination "$3:80"
        ip6tables -t nat -A PREROUTING -d "$2" -p tcp --dport 8001 -m comment --comment PortMapping \
            -j DNAT --to-destination "[$4]:80"
    ' seed "10.0.0.$number" "2001:db8:0:100::$number" "$target4" "$target6"
}

# egress CLIENT NUMBER: all of it arrives with the instance's addresses.
egress() {
    local client=$1 public=203.0.113.$2 six=2001:db8:0:100::$2
    is "$client, IPv4 TCP" "internet saw $public port*" "$(ask "$client" tcp 198.51.100.7 80)"
    is "$client, IPv4 UDP" "internet saw $public port*" "$(ask "$client" udp 198.51.100.7 53)"
    is "$client, IPv6 TCP" "internet saw $six port*" "$(ask "$client" tcp 2001:db8:ffff::7 443)"
    is "$client, IPv6 UDP" "internet saw $six port*" "$(ask "$client" udp 2001:db8:ffff::7 123)"
    "$lab" seen-reset "$one" internet
    is "$client, IPv4 ping" "answer from 198.51.100.7:*" "$(ask "$client" ping 198.51.100.7)"
    is "$client, IPv6 ping" "answer from 2001:db8:ffff::7:*" "$(ask "$client" ping 2001:db8:ffff::7)"
    sleep 0.2
    is "$client, pings seen" "icmp 0 $public icmp 0 $six" "$("$lab" seen "$one" internet | xargs)"
}

# ingress INSTANCE NUMBER SERVER PEER4 PEER6: the port forward, and nothing else, lets outsiders in.
ingress() {
    is "outsider to $1:8001, IPv4" "$3 saw $4 port*" "$(ask outsider tcp "203.0.113.$2" 8001)"
    is "outsider to $1:8001, IPv6" "$3 saw $5 port*" "$(ask outsider tcp "2001:db8:0:100::$2" 8001)"
    no "outsider to $1:80" ask outsider tcp "203.0.113.$2" 80
}

test_network() {
    "$lab" up "$one" || exit 1
    say "a fresh VPC: no way out for private hosts, and none in"
    no "client-a, IPv4" ask client-a tcp 198.51.100.7 80 1
    no "client-a, IPv6" ask client-a tcp 2001:db8:ffff::7 80 1
    no "outsider to server-a, IPv6" ask outsider tcp 2001:db8:0:101::80 80 1
    no "outsider to server-a, IPv4" ask outsider tcp 10.0.1.80 80 1
    is "inside the VPC" "server-b saw 10.0.1.10 port*" "$(ask client-a tcp 10.0.2.80 80)"
    is "the controller to an instance" "answer*" "$(ask controller ping 2001:db8:0:100::13)"
    is "an instance itself" "internet saw 203.0.113.12 port*" "$(ask nat-b udp 198.51.100.7 53)"
    is "HTTP" "internet saw 203.0.113.5 port*" "$(on controller curl -4s http://internet/)"

    say "router advertisements"
    on nat-b bash -c 'echo 1 >/proc/sys/net/ipv6/conf/all/forwarding'
    is "forwarding alone loses the default route" "" "$(on nat-b ip -6 route show default)"
    on nat-b bash -c 'echo 2 >/proc/sys/net/ipv6/conf/eth0/accept_ra; sleep 4.5'
    is "accept_ra=2 brings it back" "default via fe80::1 *" "$(on nat-b ip -6 route show default)"

    say "the seed's rules: one interface, two interfaces"
    type_seed nat-a 11 10.0.1.80 2001:db8:0:101::80
    type_seed nat-c 13 10.0.3.80 2001:db8:0:103::80
    egress client-a 11
    egress client-x 11
    egress client-c 13
    # On one interface the masquerade of anything hides the peers of port forwards too.
    ingress nat-a 11 server-a 10.0.0.11 2001:db8:0:100::11
    ingress nat-c 13 server-c 198.51.100.99 2001:db8:ffff::99
    is "server-a recorded" "tcp 80 10.0.0.11 tcp 80 2001:db8:0:100::11" "$("$lab" seen "$one" server-a | xargs)"
    is "nat-a leaks" "ipv4=0 ipv6=0" "$("$lab" leaks "$one" nat-a)"
    is "nat-c leaks" "ipv4=0 ipv6=0" "$("$lab" leaks "$one" nat-c)"

    say "nat flushed by hand"
    # shellcheck disable=SC2016 # for the inner shell
    local flush='for p in iptables ip6tables; do $p -t nat -F POSTROUTING; done; conntrack -F 2>/dev/null'
    on nat-a bash -c "$flush"
    on nat-c bash -c "$flush"
    no "client-a, IPv4" ask client-a tcp 198.51.100.7 80 1
    is "client-a, IPv6" "internet saw 2001:db8:0:101::10 port*" "$(ask client-a tcp 2001:db8:ffff::7 80)"
    no "client-c, IPv4" ask client-c udp 198.51.100.7 53 1
    is "client-c, IPv6" "internet saw 2001:db8:0:103::10 port*" "$(ask client-c udp 2001:db8:ffff::7 53)"
    is "nat-a leaks" "ipv4=[1-9]* ipv6=[1-9]*" "$("$lab" leaks "$one" nat-a)"
    is "nat-c leaks" "ipv4=[1-9]* ipv6=[1-9]*" "$("$lab" leaks "$one" nat-c)"
    is "nat-b leaks" "ipv4=0 ipv6=0" "$("$lab" leaks "$one" nat-b)"

    say "a masquerade of subnet a alone"
    "$lab" leaks-reset "$one"
    on nat-a iptables -t nat -A POSTROUTING -s 10.0.1.0/24 -o eth0 -j MASQUERADE
    on nat-a ip6tables -t nat -A POSTROUTING -s 2001:db8:0:101::/64 -o eth0 -j MASQUERADE
    on nat-a conntrack -F 2>/dev/null
    egress client-a 11
    ingress nat-a 11 server-a 198.51.100.99 2001:db8:ffff::99
    is "nat-a leaks" "ipv4=0 ipv6=0" "$("$lab" leaks "$one" nat-a)"
    no "client-x, IPv4" ask client-x udp 198.51.100.7 53 1
    is "client-x, IPv6" "internet saw 2001:db8:0:104::10 port*" "$(ask client-x udp 2001:db8:ffff::7 53)"
    is "nat-a leaks" "ipv4=1 ipv6=1" "$("$lab" leaks "$one" nat-a)"

    say "more servers"
    yes "serve" "$lab" serve "$one" server-b tcp 25 udp 5000-5001
    is "served" "server-b saw 10.0.0.5 port * on udp/5001" "$(ask controller udp 10.0.2.80 5001)"
    "$lab" down "$one"
}
