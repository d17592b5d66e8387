# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: natfleet contributors
# shellcheck shell=bash
# shellcheck disable=SC2154,SC2016 # lab, name, work: of whoever sources this; inner shells expand
#
# What clients and waiting agents notice: throughput, and how soon news arrive.

throughput() {
    on client-a iperf3 --client 198.51.100.7 --time 1 --format m | awk '/receiver/ { print $(NF - 2) }'
}
# keep NAME, use NAME: all rules of nat-a, to and from a file there.
keep() { on nat-a bash -ec 'iptables-save >"/run/$0.v4"; ip6tables-save >"/run/$0.v6"' "$1"; }
use() { on nat-a bash -ec 'iptables-restore -w 10 <"/run/$0.v4"; ip6tables-restore -w 10 <"/run/$0.v6"; sleep 0.2' "$1"; }
clear_rules() {
    on nat-a bash -ec '
        for program in iptables ip6tables; do
            for table in nat filter; do "$program" -t "$table" -F; "$program" -t "$table" -X; done
        done'
}
# The rules of the procedure that natfleet takes the place of, all of them: docs/from-iptables.md. FORWARD lets the rest pass.
by_hand() {
    on nat-a bash -ec '
        iptables -t nat -A POSTROUTING -o eth0 -j MASQUERADE
        iptables -A FORWARD -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
        ip6tables -t nat -A POSTROUTING -o eth0 -j MASQUERADE
        ip6tables -A FORWARD -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
        iptables -t nat -A PREROUTING -d 10.0.0.11 -p tcp --dport 8001 -j DNAT --to 10.0.1.80:80 \
            -m comment --comment PortMapping
        ip6tables -t nat -A PREROUTING -d 2001:db8:0:100::11 -p tcp --dport 8001 \
            -j DNAT --to-destination "[2001:db8:0:101::80]:80" -m comment --comment PortMapping'
}
bench_iperf() {
    local round rules
    policy 100 >"$work/100.yaml"
    timed_apply "$work/100.yaml" >/dev/null
    # It would put its rules back.
    stop_agent
    keep ours
    clear_rules
    by_hand
    keep hand
    on internet iperf3 --server --daemon --logfile /run/iperf3
    throughput >/dev/null
    # Where two processors do all of it, the ratios of single rounds lie between 0.8 and 1.2.
    for ((round = 1; round <= 48; round++)); do
        # Who comes first changes: the second of two runs meets another machine.
        if ((round % 2)); then rules=(ours hand); else rules=(hand ours); fi
        for which in "${rules[@]}"; do
            use "$which"
            throughput >"$work/$which"
        done
        paste -d' ' "$work/ours" "$work/hand"
    done >"$work/rounds"
    heading "iperf3, one TCP stream: natfleet's rules (100 port forwards) beside the ones by hand" "natfleet" "by hand"
    row "Mbit/s, median of 48 rounds' ratios" %.0f "$(column "$work/rounds" 1 | median)" "$(column "$work/rounds" 2 | median)" \
        ">=0.98" "$(awk '{ print $1 / $2 }' "$work/rounds" | median)"
    clear_rules
    resume_agent
    remove_policy
}

# From the operator's request at the controller's socket to the answer that the waiting agent gets, on the wire.
bench_wake() {
    local round
    on controller bash -c 'exec tcpdump -i any -nn -tt -q -l "tcp port 8443" >/run/wire 2>/dev/null' </dev/null &
    wait_for 10 "tcpdump" on controller pgrep -x tcpdump
    for ((round = 1; round <= 100; round++)); do
        policy 1 "$((1000 + round))" >"$work/wake.yaml"
        timed_apply "$work/wake.yaml" >/dev/null
    done
    on controller pkill -x tcpdump
    # Payloads above 100 bytes are requests and answers; below are TLS's own.
    on controller cat /run/wire | awk '
        { size = $NF; to = ""; for (i = 3; i < NF; i++) if ($i == ">") { from = $(i - 1); to = $(i + 1) } }
        size <= 100 { next }
        to ~ /^10\.0\.0\.5\.8443/ && from ~ /^(10\.0\.0\.5|127)/ { asked = $1 }
        from ~ /^10\.0\.0\.5\.8443/ && to ~ /^10\.0\.0\.11\./ && asked { printf "%.2f\n", ($1 - asked) * 1000; asked = 0 }
    ' >"$work/wakes"
    printf '\nwake-up of a waiting agent, %d times: p50 %s ms, p99 %s ms\n' "$(wc -l <"$work/wakes")" \
        "$(percentile 50 <"$work/wakes")" "$(percentile 99 <"$work/wakes")"
    remove_policy
}
