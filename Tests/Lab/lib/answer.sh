#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: natfleet contributors
#
# What a server says, run by socat for each connection and datagram: writes down the peer, tells it what was seen, then
# echoes line by line. Speaks HTTP to those who do.

# canonical ADDRESS: socat's spelling to the usual one; IPv4 in IPv6 becomes IPv4.
canonical() {
    local a=${1#\[} groups=() i j best=-1 length=1 out=
    a=${a%]}
    if [[ $a != *:* || $a == *::* ]]; then
        printf '%s' "${a#::ffff:}"
        return
    fi
    IFS=: read -ra groups <<<"$a"
    for i in "${!groups[@]}"; do groups[i]=$((16#${groups[i]})); done
    if [[ ${groups[*]:0:6} == "0 0 0 0 0 65535" ]]; then
        printf '%d.%d.%d.%d' $((groups[6] >> 8)) $((groups[6] & 255)) $((groups[7] >> 8)) $((groups[7] & 255))
        return
    fi
    for ((i = 0; i < 8; i++)); do
        for ((j = i; j < 8 && groups[j] == 0; j++)); do :; done
        if ((j - i > length)); then best=$i length=$((j - i)); fi
    done
    for ((i = 0; i < 8; i++)); do
        if ((i == best)); then
            out=${out%:}::
            ((i += length - 1))
        else
            printf -v out '%s%x:' "$out" "${groups[i]}"
        fi
    done
    [[ $out == *:: ]] && printf '%s' "$out" || printf '%s' "${out%:}"
}

peer=$(canonical "$SOCAT_PEERADDR")
line="$(</proc/sys/kernel/hostname) saw $peer port $SOCAT_PEERPORT on $LAB_PROTOCOL/$LAB_PORT"
printf '%s %s %s\n' "$LAB_PROTOCOL" "$LAB_PORT" "$peer" >>/run/lab/seen

if [[ $LAB_PROTOCOL == udp ]]; then
    printf '%s\n' "$line"
    exit
fi
# A peer that waits for the server to speak first is not kept waiting long.
IFS= read -r -t 0.5 request
if [[ $request =~ ^(GET|HEAD|POST)\  ]]; then
    while IFS= read -r -t 1 header && [[ $header != $'\r' ]]; do :; done
    printf 'HTTP/1.0 200 OK\r\nContent-Type: text/plain\r\nContent-Length: %s\r\n\r\n' $((${#line} + 1))
    [[ $request == HEAD* ]] || printf '%s\n' "$line"
    exit
fi
printf '%s\n' "$line"
exec cat
