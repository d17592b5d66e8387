# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: natfleet contributors
# shellcheck shell=bash
# shellcheck disable=SC2154,SC2016 # here, bin, lab, name, work: of whoever sources this; inner shells expand
#
# What agents with nothing to do cost, all in the same minute on the same machine.

# runs PID: it is there, and has not ended.
runs() { [[ $(sed -n 's/^State:\t//p' "/proc/$1/status" 2>/dev/null) == [!ZX]* ]]; }
# processes LAUNCHER PATTERN: those that the namespaces of LAUNCHER's child hold, by name or command line; as this machine
# counts.
processes() {
    local child pid
    child=$(pgrep -P "$1")
    for pid in $(pgrep -f "$2"); do
        ! runs "$pid" || [ ! "/proc/$pid/ns/pid" -ef "/proc/$child/ns/pid" ] || echo "$pid"
    done
}
# host_pid HOST: the agent of that host of the lab, as this machine counts.
host_pid() {
    local pid net
    net=/proc/$("$lab" pid "$name" "$1")/ns/net
    for pid in $(pgrep -x natfleet-agent); do [ ! "/proc/$pid/ns/net" -ef "$net" ] || echo "$pid"; done
}
# ticks PID…: CPU of processes and the children they waited for, in clock ticks.
ticks() { for pid; do cat "/proc/$pid/stat"; done | awk '{ sub(/.*\) /, ""); sum += $12 + $13 + $14 + $15 } END { print sum + 0 }'; }
# memory FIELD PID…: in MB.
memory() {
    local field=$1 pid
    shift
    for pid; do cat "/proc/$pid/smaps_rollup"; done | awk -v field="$field:" '$1 == field { sum += $2 } END { print sum / 1024 }'
}
# start_peer NAME: within ten minutes, most of them for the first installation; sets peer_pid and peer_version of it.
declare -A peer_version=()
start_peer() {
    local line=
    # A descriptor of its own, since only one coprocess can be known by name at a time.
    exec {peer_output}< <(exec "$here/peer" "$1" "$work/$1" 2>"$work/$1.log")
    peer_pid[$1]=$!
    read -r -t 600 -u "$peer_output" line || true
    [[ $line != ready\ * ]] || peer_version[$1]=${line#ready }
}

# idle_minute: sets the names and pids of all that is measured, and their ticks before it; fails where one of them is gone then.
idle_minute() {
    local i pid
    names=("natfleet-agent, 100 port forwards" "natfleet-agent, 10000 port forwards") before=()
    pids=("$(host_pid nat-b)" "$(host_pid nat-a)")
    for daemon in execd monitord serverd; do
        names+=("CFEngine ${peer_version[cfengine]-}, cf-$daemon")
        pids+=("${peer_version[cfengine]:+$(processes "${peer_pid[cfengine]}" "^(/usr/bin/)?cf-$daemon" | sed -n 1p)}")
    done
    names+=("Salt ${peer_version[salt]-}, salt-minion")
    pids+=("${peer_version[salt]:+$(processes "${peer_pid[salt]}" 'salt-minion -c')}")
    # shellcheck disable=SC2086 # lists of pids
    for i in "${!names[@]}"; do before+=("$(ticks ${pids[i]})"); done
    sleep 60
    for pid in $(printf '%s ' "${pids[@]}"); do runs "$pid" || return 1; done
}

bench_idle() {
    local cpu i before=() after names=() pids=() hz
    hz=$(getconf CLK_TCK)
    printf '\nagent, stripped: %.1f MB\n' "$(stat -L -c %s "$bin/natfleet-agent" | awk '{ print $1 / 1e6 }')"
    # In this order: cf-monitord ends when it measures for the first time here, two and a half minutes after its start.
    for peer in salt cfengine; do start_peer "$peer"; done
    # Two agents that have done nothing else in their life.
    stop_agent
    start_agent nat-b vpc=small
    policy_vpc=small policy_name=small policy 100 >"$work/small.yaml"
    policy 10000 >"$work/10000.yaml"
    wait_instances 2
    listen nat-b
    timed_apply "$work/small.yaml" nat-b >/dev/null
    resume_agent
    timed_apply "$work/10000.yaml" >/dev/null
    sleep 15

    until idle_minute; do echo "a daemon of a peer has ended: another minute, without it" >&2; done
    # shellcheck disable=SC2086 # lists of pids
    {
        printf '%-46s %12s %12s %-14s %10s %8s  %s\n' "idle, one minute" "resident MB" "private MB" "" "CPU ticks" "CPU %" ""
        for i in "${!names[@]}"; do
            if [ -z "${pids[i]}" ]; then
                printf '%-46s %12s\n' "${names[i]}" "not available"
                continue
            fi
            after=$(ticks ${pids[i]})
            cpu=$(awk -v ticks="$((after - before[i]))" -v hz="$hz" 'BEGIN { print ticks / hz / 60 * 100 }')
            printf '%-46s %12.1f %12.1f %-14s %10d %8.2f  %s\n' "${names[i]}" "$(memory Rss ${pids[i]})" \
                "$(memory Private_Dirty ${pids[i]})" "$( ((i > 1)) || versus "$(memory Private_Dirty ${pids[i]})" "<5")" \
                "$((after - before[i]))" "$cpu" "$( ((i > 1)) || versus "$cpu" "<0.1")"
        done
        # The least of the others', and whether each of ours is below it.
        for ((i = 2; i < ${#names[@]}; i++)); do
            [ -z "${pids[i]}" ] || memory Private_Dirty ${pids[i]}
        done | sort -n | sed -n 1p >"$work/least"
        for i in 0 1; do
            [ ! -s "$work/least" ] || printf '%-46s %25s\n' "${names[i]}: private, beside the others'" \
                "$(versus "$(memory Private_Dirty ${pids[i]})" "<$(printf '%.1f' "$(cat "$work/least")")")"
        done
    }
    for peer in "${!peer_pid[@]}"; do kill -KILL "${peer_pid[$peer]}" || true; done
    peer_pid=()
    natfleet delete policy small >/dev/null
    remove_policy
}
