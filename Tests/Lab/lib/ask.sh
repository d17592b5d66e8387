# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: natfleet contributors
# shellcheck shell=bash
#
# Runs on a host: asks one server once and prints what it answered. ask.sh tcp|udp|ping ADDRESS [PORT [SECONDS]]
# Exit status 1 when nothing came back in time.

usage() {
    printf 'lab: ask: tcp|udp ADDRESS PORT [SECONDS], or ping ADDRESS [SECONDS]\n' >&2
    exit 2
}
[[ $# -ge 2 ]] || usage
kind=$1 address=${2#\[}
address=${address%]}
case $kind in
    ping)
        ping -n -c 1 -W "${3:-2}" "$address" | sed -n '/bytes from/{s/^[0-9]* bytes from /answer from /;p;q}' | grep .
        ;;
    tcp | udp)
        [[ $# -ge 3 && $3 =~ ^[0-9]+$ ]] || usage
        # dd takes what one read gives, which for UDP is the whole datagram.
        # shellcheck disable=SC2016 # for the inner shell
        timeout "${4:-2}" bash -c '
            exec 3<>"/dev/$1/$2/$3" || exit 1
            printf "\n" >&3
            dd bs=65536 count=1 status=none <&3 | grep .
        ' ask "$kind" "$address" "$3" 2>/dev/null || exit 1
        ;;
    *) usage ;;
esac
