# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: natfleet contributors
# shellcheck shell=bash
#
# connect.sh FOLDER TARGET…, in network and mount namespaces of its own: a client, a server (10.0.1.80), and between them
# the machines that FOLDER/machines lists as `N BACKEND`, each with the rules of FOLDER/machine.N. Prints what connect.py
# measures from the client to each target.
set -euo pipefail
folder=$1
shift
program=$(dirname "$0")/connect.py
# Names of namespaces and the lock of iptables are this run's own.
mount -t tmpfs tmpfs /run
mkdir /run/netns
ip netns add client
ip netns add server
ip -n server link set lo up
ip -n server addr add 10.0.1.80/32 dev lo
while read -r n backend; do
    ip netns add "nat$n"
    ip link add name eth0 netns "nat$n" type veth peer name "nat$n" netns client
    ip link add name eth1 netns "nat$n" type veth peer name "nat$n" netns server
    ip -n client addr add "10.0.$n.1/24" dev "nat$n"
    ip -n "nat$n" addr add "10.0.$n.11/24" dev eth0
    # By a link of their own, as 10.0.1.80 is behind every one of them.
    ip -n "nat$n" addr add "10.1.$n.11/24" dev eth1
    ip -n server addr add "10.1.$n.80/24" dev "nat$n"
    for link in "client nat$n" "server nat$n" "nat$n eth0" "nat$n eth1"; do
        read -r host name <<<"$link"
        ip -n "$host" link set "$name" up
    done
    ip -n "nat$n" route add 10.0.1.80 via "10.1.$n.80"
    ip -n server route add "10.0.$n.0/24" via "10.1.$n.11"
    ip netns exec "nat$n" sysctl -qw net.ipv4.ip_forward=1
    ip netns exec "nat$n" "iptables-$backend-restore" -w 10 <"$folder/machine.$n"
done <"$folder/machines"

coproc server { exec ip netns exec server python3 "$program" serve 20001 30000; }
# shellcheck disable=SC2154 # coproc sets it
trap 'kill "$server_PID"' EXIT
read -r ready <&"${server[0]}"
[ "$ready" = ready ]
ip netns exec client python3 "$program" measure 150 20 "$@"
