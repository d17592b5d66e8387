# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: natfleet contributors
# shellcheck shell=bash
# shellcheck source-path=SCRIPTDIR
#
# The keeper: builds a lab around itself and holds it. Reports on descriptor 3: `step TEXT`, `fail TEXT`, `ready`.
#   keeper.sh launch PARENT hold|detached   makes the sandbox; descriptor 0 controls it, 9 is the lab's lock
#   keeper.sh run hold|detached             pid 1 in the sandbox

lab_lib=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
if [[ $1 == launch ]]; then
    # The parent may have died before the kernel was asked to tell about it.
    [[ $PPID -eq $2 ]] || exit 1
    # Whatever else the caller had open, somebody may wait for its end.
    for fd in /proc/self/fd/*; do
        fd=${fd##*/}
        case $fd in [0-3] | 9 | 255) ;; *) eval "exec $fd>&-" ;; esac
    done
    exec unshare --net --mount --propagation private --pid --fork --kill-child bash "$lab_lib/keeper.sh" run "$3"
fi
mode=$2

set -euE
export LC_ALL=C
unset NATFLEET_LAB_HOST BASH_ENV ENV
umask 022
cd /

# shellcheck source=topology.sh
source "$lab_lib/topology.sh"
# shellcheck source=edge.sh
source "$lab_lib/edge.sh"
# shellcheck source=network.sh
source "$lab_lib/network.sh"

step() {
    current=$1
    printf 'step %s\n' "$1" >&3
}
trap 'printf "fail %s (line %s of %s)\n" "$current" "$LINENO" "${BASH_SOURCE[0]##*/}" >&3' ERR

step "sandbox"
# Nothing that the machine keeps in /run is seen here, and nothing made here is seen there: network namespaces by
# name, the lock of iptables, the sockets of system services.
mount -t tmpfs -o mode=755 natfleet-lab /run
mount -t proc -o nosuid,nodev,noexec proc /proc
mkdir -p /run/lab
ip link set lo up

step "hosts"
declare -A holder=()
make_namespaces
exec 7<> <(:)
for host in "${all_hosts[@]}"; do
    NATFLEET_LAB_HOST=$host nsenter --net="/run/netns/$host" unshare --mount --uts --propagation private \
        bash "$lab_lib/host.sh" "$host" </dev/null 3>&- &
    holder[$host]=$!
done
for host in "${all_hosts[@]}"; do
    read -r -t 20 up <&7
    [[ -n $up ]]
done
exec 7>&-

on() {
    local host=$1
    shift
    nsenter -t "${holder[$host]}" --net --mount --uts -- "$@" </dev/null 3>&-
}

step "links, addresses, routes"
make_links
make_routes

step "internet gateway, leak counters"
make_filters

step "servers, router advertisements"
start_radvd
waiting=()
for host in "${servers[@]}"; do
    on "$host" bash "$lab_lib/serve.sh" "${server_ports[@]}" &
    waiting+=($!)
done
on internet bash "$lab_lib/serve.sh" "${internet_ports[@]}" &
waiting+=($!)
for job in "${waiting[@]}"; do wait "$job"; done
wait_for_advertisements

printf 'ready\n' >&3
exec 3>&-
trap - ERR
set +e

# Held: until the end of input. Detached: for ever, once `detach` says that the command which made the lab has finished.
while read -r line; do
    [[ $mode == detached && $line == detach ]] || continue
    exec </dev/null >/dev/null 2>&1
    while :; do
        sleep 1000000000 &
        wait $!
    done
done
