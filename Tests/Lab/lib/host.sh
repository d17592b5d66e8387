# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: natfleet contributors
# shellcheck shell=bash
# shellcheck source-path=SCRIPTDIR
#
# Runs in the namespaces of one host, makes them look like a machine of its own, and then holds them. Writes a line to
# descriptor 7 when done.
#   /etc, /var/lib  the machine's to read, the host's own to write; /run, /sys and its name: the host's own

set -eu
host=$1
printf '%s' "$host" >/proc/sys/kernel/hostname

private_copy() {
    local layers=/run/lab/$host$1
    mkdir -p "$layers/upper" "$layers/work"
    mount -t overlay -o "lowerdir=$1,upperdir=$layers/upper,workdir=$layers/work" overlay "$1" && return
    # Not every file system can lie under an overlay.
    cp -a "$1/." "$layers/upper"
    mount --bind "$layers/upper" "$1"
}
private_copy /etc
private_copy /var/lib
# Read-only: what can be set there, the size of conntrack's hash table for one, belongs to the whole machine.
mount -t sysfs -o ro,nosuid,nodev,noexec sysfs /sys
mount -t tmpfs -o mode=755 tmpfs /run
mkdir -p /run/lock /run/lab
: >/run/lab/seen
install -m 755 "$(dirname "${BASH_SOURCE[0]}")/answer.sh" /run/lab/answer

# A fresh machine: nothing that an earlier installation on the real one saved.
rm -rf /etc/iptables /etc/natfleet /var/lib/natfleet /etc/sysconfig/iptables /etc/sysconfig/ip6tables
printf '%s\n' "$host" >/etc/hostname
rm -f /etc/resolv.conf
: >/etc/resolv.conf
# shellcheck source=topology.sh disable=SC1091,SC2154
source "$(dirname "${BASH_SOURCE[0]}")/topology.sh"
{
    printf '127.0.0.1 localhost\n::1 localhost\n'
    for entry in "${hosts[@]}"; do
        read -r name subnet number <<<"$entry"
        printf '%s %s\n%s %s\n' "$(addr4 "$subnet" "$number")" "$name" "$(addr6 "$subnet" "$number")" "$name"
    done
    for entry in "${outside_hosts[@]}"; do
        read -r name number <<<"$entry"
        printf '%s %s\n%s %s\n' "$outside4.$number" "$name" "$outside6:$number" "$name"
    done
} >/etc/hosts

put() { [[ ! -w /proc/sys/net/$1 ]] || printf '%s' "$2" >"/proc/sys/net/$1"; }
put ipv4/ip_forward 0
put ipv6/conf/all/forwarding 0
put ipv4/ping_group_range "0 2147483647"
for scope in all default; do
    put "ipv6/conf/$scope/disable_ipv6" 0
    put "ipv6/conf/$scope/accept_dad" 0
    put "ipv6/conf/$scope/accept_ra" 0
    put "ipv6/conf/$scope/autoconf" 0
    put "ipv4/conf/$scope/rp_filter" 0
done
case $host in
    router | igw)
        put ipv4/ip_forward 1
        put ipv6/conf/all/forwarding 1
        put ipv6/conf/default/forwarding 1
        put ipv6/conf/default/addr_gen_mode 1
        for scope in all default; do put "ipv4/conf/$scope/send_redirects" 0; done
        for key in arptables ip6tables iptables; do put "bridge/bridge-nf-call-$key" 0; done
        ;;
    nat-*)
        for scope in all default; do put "ipv6/conf/$scope/accept_ra" 1; done
        put ipv6/conf/default/router_solicitation_delay 0
        # Two interfaces under strict reverse path filtering, as Amazon Linux once shipped it.
        [[ $host != nat-c ]] || for scope in all default; do put "ipv4/conf/$scope/rp_filter" 1; done
        ;;
esac

printf 'up\n' >&7
exec 7>&-
exec sleep infinity >/dev/null 2>&1
