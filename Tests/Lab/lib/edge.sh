# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: natfleet contributors
# shellcheck shell=bash
# shellcheck disable=SC2154 # the tables of topology.sh
#
# What AWS does at the edges: addresses mapped at the internet gateway, no unasked traffic from outside into private
# subnets (as their security groups would have it), router advertisements; and the counters of leaks.

make_filters() {
    local host
    gateway_rules | on_input igw iptables-restore
    printf '*raw\n-A PREROUTING -i up0 -s fe80::/10 -j ACCEPT\n-A PREROUTING -i up0 ! -s %s -j DROP\nCOMMIT\n' "$vpc6" |
        on_input igw ip6tables-restore
    router_rules net4 "$vpc4" icmp | on_input router iptables-restore
    router_rules net6 "$vpc6" ipv6-icmp | on_input router ip6tables-restore
    # Neither end of a connection passes here whole at all times: nothing is out of window.
    for host in igw router; do
        on "$host" bash -c 'echo 1 >/proc/sys/net/netfilter/nf_conntrack_tcp_be_liberal'
    done
}

on_input() {
    local host=$1
    shift
    nsenter -t "${holder[$host]}" --net --mount --uts -- "$@" 3>&-
}

gateway_rules() {
    local number
    printf '*raw\n'
    for number in "${mapped[@]}"; do printf -- '-A PREROUTING -i up0 -s %s -j ACCEPT\n' "$(addr4 pub "$number")"; done
    printf -- '-A PREROUTING -i up0 -j DROP\n-A PREROUTING -i wan -d %s -j DROP\nCOMMIT\n*nat\n' "$vpc4"
    for number in "${mapped[@]}"; do
        printf -- '-A PREROUTING -d %s -j DNAT --to-destination %s\n' "$public4.$number" "$(addr4 pub "$number")"
        printf -- '-A POSTROUTING -s %s -o wan -j SNAT --to-source %s\n' "$(addr4 pub "$number")" "$public4.$number"
        # One instance to another's public address turns round here.
        printf -- '-A POSTROUTING -s %s -o up0 -j SNAT --to-source %s\n' "$(addr4 pub "$number")" "$public4.$number"
    done
    # What conntrack can't place keeps its private address, and must not leave with it.
    printf 'COMMIT\n*mangle\n-A POSTROUTING -o wan -s %s -m conntrack --ctstate INVALID -j DROP\nCOMMIT\n' "$vpc4"
}

# router_rules NET VPC ICMP: NET prints a subnet's prefix in the family. A chain an instance counts, rule by rule.
router_rules() {
    local name subnet
    printf '*raw\n'
    for name in "${instances[@]}"; do printf ':LEAK-%s - [0:0]\n' "$name"; done
    for name in "${instances[@]}"; do
        printf -- '-A PREROUTING -m mac --mac-source %s ! -d %s -j LEAK-%s\n' \
            "$(mac pub "${nat_number[$name]}")" "$2" "$name"
        for subnet in "${private_subnets[@]}"; do printf -- '-A LEAK-%s -s %s\n' "$name" "$("$1" "$subnet")"; done
    done
    printf -- '-A PREROUTING -m mac --mac-source %s ! -d %s -j LEAK-nat-c\n' "$(mac in 13)" "$2"
    printf 'COMMIT\n*filter\n'
    [[ $3 == icmp ]] || printf -- '-A OUTPUT -p ipv6-icmp --icmpv6-type redirect -j DROP\n'
    for subnet in "${private_subnets[@]}" in; do
        printf -- '-A FORWARD -i up0 -d %s -m conntrack ! --ctstate RELATED,ESTABLISHED -j DROP\n' "$("$1" "$subnet")"
    done
    printf 'COMMIT\n'
}

start_radvd() {
    cat >/run/lab/radvd.conf <<END
interface br-pub {
    AdvSendAdvert on;
    MinRtrAdvInterval 3;
    MaxRtrAdvInterval 4;
    AdvDefaultLifetime 1800;
    prefix $(net6 pub) {
        AdvOnLink on;
        AdvAutonomous off;
    };
};
END
    nsenter -t "${holder[router]}" --net --uts -- \
        radvd -n -C /run/lab/radvd.conf -p /run/lab/radvd.pid -m stderr </dev/null 3>&- &
}

wait_for_advertisements() {
    local name try
    for name in "${instances[@]}"; do
        for ((try = 0; ; try++)); do
            [[ -z $(ip -n "$name" -6 route show default) ]] || break
            ((try < 400)) || return 1
            sleep 0.05
        done
    done
}
