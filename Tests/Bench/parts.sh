# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: natfleet contributors
# shellcheck shell=bash
# shellcheck disable=SC2154,SC2016 # bin, lab, name, work: of whoever sources this; inner shells expand
#
# One function a part of the bench. Times are seconds of wall clock.

state=/var/lib/natfleet-agent

median() { sort -n | awk '{ v[NR] = $1 } END { print NR % 2 ? v[(NR + 1) / 2] : (v[NR / 2] + v[NR / 2 + 1]) / 2 }'; }
# percentile P: of the numbers on standard input, nearest rank.
percentile() { sort -n | awk -v p="$1" '{ v[NR] = $1 } END { i = int(NR * p / 100 + 0.999999); print v[i < 1 ? 1 : i] }'; }
heading() { printf '\n%s\n%-44s %12s %12s %8s\n' "$1" "" "$2" "$3" "ratio"; }
# row WHAT FORMAT OURS THEIRS
row() {
    printf '%-44s %12s %12s %8s\n' "$1" "$(awk -v f="$2" -v v="$3" 'BEGIN { printf f, v }')" \
        "$(awk -v f="$2" -v v="$4" 'BEGIN { printf f, v }')" "$(awk -v a="$3" -v b="$4" 'BEGIN { printf "%.2f", b ? a / b : 0 }')"
}

# policy N [PORT]: N port forwards and the VPC's masquerade; the one in the middle leads to PORT.
policy() {
    cat <<'END'
apiVersion: natfleet/v1
kind: NATPolicy
metadata: {name: bench}
spec:
  selector: {matchLabels: {vpc: demo}}
  forwarding: {ipv4: true, ipv6: true}
  masquerade:
    - {name: egress, sources: [10.0.0.0/16, "2001:db8:0:100::/56"]}
  dnat:
END
    awk -v n="$1" -v other="${2:-80}" 'BEGIN {
        for (i = 1; i <= n; i++)
            printf "    - {name: m%d, protocol: tcp, port: %d, to: \"10.0.1.80:%d\"}\n", i, 10000 + i,
                i == int((n + 1) / 2) ? other : 80
    }'
}

# timed_apply FILE: applies it; prints the time from the command line's end, when the agent's poll has been answered, until
# the agent has saved what it applied, read back and found right.
timed_apply() {
    local mark end
    on nat-a bash -c 'rm -f /run/mark; touch -r "$0/applied.json" /run/mark 2>/dev/null || true' "$state"
    natfleet apply -f "$1" >/dev/null
    mark=$EPOCHREALTIME
    end=$(on nat-a bash -c '
        deadline=$((SECONDS + 120))
        until [[ $0/applied.json -nt /run/mark ]]; do
            ((SECONDS < deadline)) || exit 1
            sleep 0.02
        done
        stat -c %.9Y "$0/applied.json"' "$state")
    awk -v a="$mark" -v b="$end" 'BEGIN { d = b - a; print (d > 0.001 ? d : 0.001) }'
}
remove_policy() {
    natfleet delete policy bench >/dev/null
    wait_for 60 "the rules to go" bash -c '[[ $("$0" exec "$1" nat-a -- bash -c "iptables-save; ip6tables-save" |
        grep -c NATFLEET) -eq 0 ]]' "$lab" "$name"
}
# In a namespace of its own, with the files that the agent saved: what the tools alone need for the same work.
plain_tools() {
    on nat-a unshare --net bash -ec '
        start=$EPOCHREALTIME
        for family in "iptables v4" "ip6tables v6"; do
            read -r program version <<<"$family"
            unshare --net "$program-restore" -w 10 <"$0/rules.$version"
            "$program-restore" --noflush -w 10 <"$0/rules.$version"
            "$program-save" >/run/saved
        done
        echo "$start $EPOCHREALTIME"' "$1" | awk '{ print $2 - $1 }'
}
plain_restore() {
    on nat-a unshare --net bash -ec '
        start=$EPOCHREALTIME
        iptables-restore --noflush -w 10 <"$0/rules.v4"
        echo "$start $EPOCHREALTIME"' "$1" | awk '{ print $2 - $1 }'
}
# One command a chain and a rule, as a person or a script would.
one_by_one() {
    on nat-a unshare --net bash -ec '
        for family in "iptables v4" "ip6tables v6"; do
            read -r program version <<<"$family"
            awk -v program="$program" "
                /^\*/ { table = substr(\$1, 2) }
                /^:NATFLEET/ { print program, \"-t\", table, \"-N\", substr(\$1, 2) }
                /^(\[[0-9:]+\] )?-[AI] / { sub(/^\[[0-9:]+\] /, \"\"); print program, \"-t\", table, \$0 }" "$0/rules.$version"
        done >/run/commands
        start=$EPOCHREALTIME
        source /run/commands
        echo "$start $EPOCHREALTIME"' "$1" | awk '{ print $2 - $1 }'
}
repeat() {
    local count=$1
    shift
    for ((round = 0; round < count; round++)); do "$@"; done
}
fresh_apply() {
    timed_apply "$1"
    on nat-a bash -c 'rm -rf /run/rules && mkdir /run/rules && cp "$0"/rules.v4 "$0"/rules.v6 /run/rules' "$state"
    remove_policy
}

bench_apply() {
    local count rounds ours
    heading "apply: agent beside unshare+restore, restore, save, both families" "agent s" "tools s"
    for count in 1 100 10000; do
        rounds=5
        ((count < 10000)) || rounds=3
        policy "$count" >"$work/$count.yaml"
        ours=$(repeat "$rounds" fresh_apply "$work/$count.yaml" | median)
        row "$count port forwards" %.3f "$ours" "$(repeat 5 plain_tools /run/rules | median)"
        ((count == 10000)) || row "  beside one iptables command a rule" %.3f "$ours" "$(repeat 3 one_by_one /run/rules | median)"
    done
    timed_apply "$work/10000.yaml" >/dev/null
    ours=$(for port in 81 82 83; do
        policy 10000 "$port" >"$work/changed.yaml"
        timed_apply "$work/changed.yaml"
    done | median)
    row "one of 10000 changed, beside a full restore" %.3f "$ours" "$(repeat 5 plain_restore "$state" | median)"
    remove_policy
}

throughput() {
    on client-a iperf3 --client 198.51.100.7 --time 3 --format m | awk '/receiver/ { print $(NF - 2) }'
}
by_hand() {
    on nat-a bash -ec '
        for program in iptables ip6tables; do
            for table in nat filter; do "$program" -t "$table" -F; "$program" -t "$table" -X; done
            "$program" -t nat -A POSTROUTING -o eth0 -j MASQUERADE
            "$program" -A FORWARD -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
            "$program" -A FORWARD -o eth0 -j ACCEPT
        done'
}
bench_iperf() {
    local round
    policy 100 >"$work/100.yaml"
    timed_apply "$work/100.yaml" >/dev/null
    stop_agent
    on internet iperf3 --server --daemon --logfile /run/iperf3
    throughput >/dev/null
    for round in 1 2 3; do
        on nat-a bash -c 'for program in iptables ip6tables; do for table in nat filter; do
            "$program" -t "$table" -F; "$program" -t "$table" -X; done; done'
        on nat-a "$bin/natfleet-agent" restore
        throughput >>"$work/ours"
        by_hand
        throughput >>"$work/hand"
    done
    heading "iperf3, one TCP stream: natfleet's rules beside the seed's by hand" "natfleet" "by hand"
    row "Mbit/s" %.0f "$(median <"$work/ours")" "$(median <"$work/hand")"
    on nat-a bash -c 'for program in iptables ip6tables; do for table in nat filter; do
        "$program" -t "$table" -F; "$program" -t "$table" -X; done; done'
    on nat-a bash -c "exec '$bin/natfleet-agent' run >>/run/agent.log 2>&1" </dev/null &
    remove_policy
}

agent_pid() { on nat-a pgrep -x natfleet-agent; }
stop_agent() {
    on nat-a pkill -x natfleet-agent
    wait_for 10 "the agent's end" bash -c '! "$0" exec "$1" nat-a -- pgrep -x natfleet-agent' "$lab" "$name"
}

# From the operator's request at the controller's socket to the answer that the waiting agent gets, on the wire.
bench_wake() {
    local round
    on controller bash -c 'exec tcpdump -i any -nn -tt -q -l "tcp port 8443" >/run/wire 2>/dev/null' </dev/null &
    wait_for 10 "tcpdump" on controller pgrep -x tcpdump
    for ((round = 1; round <= 50; round++)); do
        policy 1 "$((1000 + round))" >"$work/wake.yaml"
        timed_apply "$work/wake.yaml" >/dev/null
        # It has to wait again.
        sleep 0.3
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

# ticks PID: CPU of a process and the children it waited for, in clock ticks.
ticks() { on nat-a awk '{ sub(/.*\) /, ""); print $12 + $13 + $14 + $15 }' "/proc/$1/stat"; }
bench_idle() {
    local count pid before
    strip -o "$work/agent" "$bin/natfleet-agent"
    printf '\nagent, stripped: %.1f MB\n' "$(stat -c %s "$work/agent" | awk '{ print $1 / 1e6 }')"
    printf '%-24s %12s %12s %14s %10s\n' "idle, one minute" "resident MB" "private MB" "CPU ticks" "CPU %"
    for count in 100 10000; do
        policy "$count" >"$work/$count.yaml"
        timed_apply "$work/$count.yaml" >/dev/null
        sleep 12
        pid=$(agent_pid)
        before=$(ticks "$pid")
        sleep 60
        ticks "$pid" | awk -v before="$before" -v hz="$(getconf CLK_TCK)" -v count="$count" \
            -v resident="$(on nat-a awk '$1 == "Rss:" { print $2 / 1024 }' "/proc/$pid/smaps_rollup")" \
            -v private="$(on nat-a awk '$1 == "Private_Dirty:" { print $2 / 1024 }' "/proc/$pid/smaps_rollup")" '{
                printf "%-24s %12.1f %12.1f %14d %10.2f\n", count " port forwards", resident, private, $1 - before,
                    ($1 - before) / hz / 60 * 100 }'
    done
    remove_policy
}
