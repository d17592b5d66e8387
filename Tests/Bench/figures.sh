# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: natfleet contributors
# shellcheck shell=bash
# shellcheck disable=SC2154,SC2016 # bin, lab, name, work: of whoever sources this; inner shells expand
#
# What the parts of the bench share: figures and their table, policies, and how long the agent takes. Times are seconds of
# wall clock.

state=/var/lib/natfleet-agent

median() { sort -n | awk '{ v[NR] = $1 } END { print NR % 2 ? v[(NR + 1) / 2] : (v[NR / 2] + v[NR / 2 + 1]) / 2 }'; }
# percentile P: of the numbers on standard input, nearest rank.
percentile() { sort -n | awk -v p="$1" '{ v[NR] = $1 } END { i = int(NR * p / 100 + 0.999999); print v[i < 1 ? 1 : i] }'; }
# column FILE N: that column of a file of numbers.
column() { awk -v n="$2" '{ print $n }' "$1"; }
# versus VALUE AIM: the aim (`<=1.3`, `>=0.98`, `<5`), and whether the value meets it.
versus() {
    awk -v value="$1" -v aim="${2-}" 'BEGIN {
        if (!match(aim, /[0-9.]+$/)) exit
        limit = substr(aim, RSTART) + 0
        met = aim ~ /^<=/ ? value <= limit : aim ~ /^</ ? value < limit : value >= limit
        printf "%s %s", aim, met ? "met" : "MISSED"
    }'
}
heading() { printf '\n%s\n%-46s %12s %12s %8s  %s\n' "$1" "" "$2" "$3" "ratio" "aim"; }
# row WHAT FORMAT OURS THEIRS [AIM [RATIO]]: the aim is the ratio's, which is that of the two unless given.
row() {
    local ratio=${6-}
    [ -n "$ratio" ] || ratio=$(awk -v a="$3" -v b="$4" 'BEGIN { printf "%.4f", (b > 0 ? a / b : 0) }')
    # shellcheck disable=SC2059 # the format is an argument
    printf "%-46s %12s %12s %8.2f  %s\n" "$1" "$(printf "$2" "$3")" "$(printf "$2" "$4")" "$ratio" "$(versus "$ratio" "${5-}")"
}

# policy N [PORT]: N port forwards and the VPC's masquerade; the one in the middle leads to PORT.
policy() {
    cat <<END
apiVersion: natfleet/v1
kind: NATPolicy
metadata: {name: ${policy_name:-bench}}
spec:
  selector: {matchLabels: {vpc: ${policy_vpc:-demo}}}
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

# listen HOST: what comes from the controller there, from now on: time and bytes of each packet in /run/heard.
listen() {
    on "$1" bash -c 'exec tcpdump -i eth0 --immediate-mode -nn -tt -q -l "tcp src port 8443" >/run/heard 2>/dev/null' </dev/null &
    wait_for 10 "tcpdump" on "$1" test -e /run/heard
}
# timed_apply FILE [HOST]: applies it; prints the times from the first packet of the answer to that host's waiting agent until
# the agent has saved what it applied, read back and found right, and until it had read it back: then it opens the connection
# over which it has it confirmed.
timed_apply() {
    local asked host=${2:-nat-a}
    on "$host" bash -c 'rm -f /run/mark; touch -r "$0/applied.json" /run/mark 2>/dev/null || true' "$state"
    # It has to wait again.
    sleep 0.3
    asked=$EPOCHREALTIME
    natfleet apply -f "$1" >/dev/null
    # What is measured has both processors: the file has the time, so there is no hurry to look.
    sleep 0.5
    on "$host" bash -c '
        deadline=$((SECONDS + 120))
        until [[ $0/applied.json -nt /run/mark ]]; do
            ((SECONDS < deadline)) || exit 1
            sleep 0.1
        done
        # Payloads above 100 bytes are answers; below are what TLS has to say. A port that is new is a new connection.
        awk -v asked="$1" -v end="$(stat -c %.9Y "$0/applied.json")" "
            answered && !(\$5 in ports) { printf \"%.4f %.4f\\n\", end - answered, \$1 - answered; exit }
            { ports[\$5] }
            \$1 > asked && \$NF > 100 && !answered { answered = \$1 }" /run/heard' "$state" "$asked"
}
remove_policy() {
    natfleet delete policy bench >/dev/null
    wait_for 60 "the rules to go" bash -c '[[ $("$0" exec "$1" nat-a -- bash -c "iptables-save; ip6tables-save" |
        grep -c NATFLEET) -eq 0 ]]' "$lab" "$name"
}

# agent_pid [HOST]: hosts of a lab see each other's processes; this one's has its network.
agent_pid() {
    on "${1:-nat-a}" bash -c 'for pid in $(pgrep -x natfleet-agent); do
        [ ! "/proc/$pid/ns/net" -ef /proc/self/ns/net ] || echo "$pid"
    done'
}
stop_agent() {
    local pid
    pid=$(agent_pid nat-a)
    on nat-a kill "$pid"
    wait_for 10 "the agent's end" bash -c '! "$0" exec "$1" nat-a -- test -e "/proc/$2"' "$lab" "$name" "$pid"
}
# Its first look may write down what has changed meanwhile.
resume_agent() {
    on nat-a bash -c "exec '$bin/natfleet-agent' run >>/run/agent.log 2>&1" </dev/null &
    sleep 3
}
