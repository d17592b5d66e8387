# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: natfleet contributors
# shellcheck shell=bash
#
# Runs on a host: starts servers and returns when they listen. serve.sh tcp PORT... udp PORT-PORT... ping
# They answer both families, tell the peer what they saw and write `PROTOCOL PORT PEER` to /run/lab/seen.

set -eu
fail() {
    printf 'lab: serve: %s\n' "$*" >&2
    exit 2
}

# listening tcp|udp PORT
listening() {
    local state=07
    [[ $1 == udp ]] || state=0A
    [[ $(</proc/net/"$1"6) =~ :$(printf %04X "$2")\ [0-9A-F:]+\ $state\  ]]
}

# The kernel answers pings itself; tcpdump is there to write them down.
record_pings() {
    local log=/run/lab/ping.log peer try
    : >"$log"
    tcpdump -i eth0 -Q in -l -n -t --immediate-mode -Z root \
        'icmp[icmptype] == icmp-echo or (icmp6 and ip6[40] == 128)' 2>"$log" </dev/null 3>&- |
        while read -r _ peer _; do printf 'icmp 0 %s\n' "$peer" >>/run/lab/seen; done >/dev/null 2>&1 3>&- &
    for ((try = 0; try < 1000; try++)); do
        [[ ! $(<"$log") =~ listening ]] || return 0
        sleep 0.02
    done
    fail "tcpdump does not start: $(<"$log")"
}

started=()
protocol=
for word; do
    case $word in
        tcp | udp) protocol=$word ;;
        ping) record_pings ;;
        *)
            [[ $protocol ]] || fail "tcp or udp comes before a port"
            [[ $word =~ ^([0-9]{1,5})(-([0-9]{1,5}))?$ ]] || fail "'$word' is no port or range of ports"
            first=$((10#${BASH_REMATCH[1]})) last=$((10#${BASH_REMATCH[3]:-${BASH_REMATCH[1]}}))
            ((first >= 1 && last <= 65535 && first <= last)) || fail "'$word' is no range within 1-65535"
            for ((port = first; port <= last; port++)); do
                ! listening "$protocol" "$port" || continue
                address=TCP6-LISTEN:$port,ipv6only=0,reuseaddr,fork,backlog=512
                [[ $protocol == tcp ]] || address=UDP6-RECVFROM:$port,ipv6only=0,reuseaddr,fork
                LAB_PROTOCOL=$protocol LAB_PORT=$port setsid socat -t 5 "$address" EXEC:/run/lab/answer \
                    </dev/null >/dev/null 2>>/run/lab/socat.log 3>&- &
                started+=("$protocol $port")
            done
            ;;
    esac
done

for word in "${started[@]}"; do
    read -r protocol port <<<"$word"
    for ((try = 0; ; try++)); do
        ! listening "$protocol" "$port" || break
        ((try < 1000)) || fail "no server at $word: $(tail -n 3 /run/lab/socat.log)"
        sleep 0.02
    done
done
