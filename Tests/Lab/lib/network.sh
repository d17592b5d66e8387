# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: natfleet contributors
# shellcheck shell=bash
# shellcheck disable=SC2154 # the tables of topology.sh
#
# Links, addresses, routes and rules of the lab, written as batches: one program a namespace and step.

all_hosts=(router igw)
for entry in "${hosts[@]}" "${outside_hosts[@]}"; do all_hosts+=("${entry%% *}"); done

make_namespaces() {
    printf 'netns add %s\n' "${all_hosts[@]}" | ip -batch -
}

# join BRIDGE PORT HOST INTERFACE MAC: a cable from a host to a subnet.
join() {
    printf 'link add %s type veth peer name %s address %s netns %s\n' "$2" "$4" "$5" "$3"
    printf 'link set %s master %s up\n' "$2" "$1"
}

# bridge NAME MAC IPV4/LEN IPV6/LEN: a subnet and the router's own addresses in it.
bridge() {
    printf 'link add %s address %s type bridge mcast_snooping 0\n' "$1" "$2"
    printf 'addr add %s dev %s\n' "$3" "$1"
    printf 'addr add %s dev %s nodad\n' "$4" "$1"
    printf 'addr add fe80::1/64 dev %s nodad\n' "$1"
    printf 'link set %s up\n' "$1"
}

make_links() {
    local entry name subnet number via
    {
        printf 'link set lo up\n'
        for entry in "${subnets[@]}"; do
            read -r subnet _ _ <<<"$entry"
            bridge "br-$subnet" "$(mac "$subnet" 1)" "$(addr4 "$subnet" 1)/24" "$(addr6 "$subnet" 1)/64"
        done
        for entry in "${hosts[@]}"; do
            read -r name subnet number <<<"$entry"
            join "br-$subnet" "$name" "$name" eth0 "$(mac "$subnet" "$number")"
        done
        join br-in nat-c-in nat-c eth1 "$(mac in 13)"
        printf 'link add up0 type veth peer name up0 netns igw\naddr add 192.0.2.2/30 dev up0\n'
        printf 'addr add fe80::1/64 dev up0 nodad\nlink set up0 up\n'
    } | ip -n router -batch -
    {
        printf 'link set lo up\naddr add 192.0.2.1/30 dev up0\naddr add fe80::2/64 dev up0 nodad\nlink set up0 up\n'
        bridge wan 02:00:c6:33:64:01 "$outside4.1/24" "$outside6:1/64"
        for entry in "${outside_hosts[@]}"; do
            read -r name number <<<"$entry"
            join wan "$name" "$name" eth0 "02:00:c6:33:64:$(printf %02x "$number")"
        done
    } | ip -n igw -batch -
    for entry in "${hosts[@]}"; do
        read -r name subnet number <<<"$entry"
        via=$(addr4 "$subnet" 1)
        attach "$name" eth0 "$(addr4 "$subnet" "$number")/24" "$(addr6 "$subnet" "$number")/64" "$via"
    done
    for entry in "${outside_hosts[@]}"; do
        read -r name number <<<"$entry"
        attach "$name" eth0 "$outside4.$number/24" "$outside6:$number/64" "$outside4.1"
    done
    {
        printf 'addr add %s/24 dev eth1\naddr add %s/64 dev eth1 nodad\nlink set eth1 up\n' \
            "$(addr4 in 13)" "$(addr6 in 13)"
        for subnet in "${private_subnets[@]}"; do
            printf 'route add %s via %s dev eth1\n' "$(net4 "$subnet")" "$(addr4 in 1)"
            printf 'route add %s via fe80::1 dev eth1\n' "$(net6 "$subnet")"
        done
    } | ip -n nat-c -batch -
}

# attach HOST INTERFACE IPV4/LEN IPV6/LEN GATEWAY: instances get their IPv6 default route from router advertisements.
attach() {
    {
        printf 'link set lo up\naddr add %s dev %s\naddr add %s dev %s nodad\nlink set %s up\n' "$3" "$2" "$4" "$2" "$2"
        printf 'route add default via %s\n' "$5"
        [[ $1 == nat-* ]] || printf 'route add default via fe80::1 dev %s\n' "$2"
    } | ip -n "$1" -batch -
}

# Traffic inside the VPC and to link-local services is routed by the main table, anything else by its subnet's own.
make_routes() {
    local entry subnet number via4 via6 target family
    {
        printf 'route add blackhole %s\n' "$vpc4"
        printf 'route add unreachable 169.254.0.0/16\nroute add unreachable default metric 4000\n'
        printf 'rule add pref 100 to %s lookup main\nrule add pref 101 to 169.254.0.0/16 lookup main\n' "$vpc4"
        printf 'rule add pref 102 iif up0 lookup 99\nroute add blackhole default table 99\n'
    } | ip -n router -4 -batch -
    {
        printf 'route add blackhole %s\nroute add unreachable fd00:ec2::/32\n' "$vpc6"
        printf 'rule add pref 100 to %s lookup main\nrule add pref 101 to fd00:ec2::/32 lookup main\n' "$vpc6"
        printf 'rule add pref 102 iif up0 lookup 99\nroute add blackhole default table 99\n'
    } | ip -n router -6 -batch -
    for entry in "${subnets[@]}"; do
        read -r subnet number target <<<"$entry"
        case $target in
            igw) via4="via 192.0.2.1 dev up0" via6="via fe80::2 dev up0" ;;
            nat-a | nat-b)
                via4="via $(addr4 pub "${nat_number[$target]}")" via6="via $(addr6 pub "${nat_number[$target]}")" ;;
            nat-c) via4="via $(addr4 in 13)" via6="via $(addr6 in 13)" ;;
            *) continue ;;
        esac
        for family in 4 6; do
            [[ $family == 4 ]] && target=$via4 || target=$via6
            printf 'rule add pref %s iif br-%s lookup %s\nroute add default %s table %s\n' \
                "$((200 + number))" "$subnet" "$((10 + number))" "$target" "$((10 + number))" |
                ip -n router -"$family" -batch -
        done
    done
    printf 'route add %s via 192.0.2.2\nroute add blackhole %s.0/24\n' "$vpc4" "$public4" | ip -n igw -4 -batch -
    printf 'route add %s via fe80::1 dev up0\n' "$vpc6" | ip -n igw -6 -batch -
}
