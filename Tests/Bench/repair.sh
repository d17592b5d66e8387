# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: natfleet contributors
# shellcheck shell=bash
# shellcheck disable=SC2154,SC2016 # work: of whoever sources this; inner shells expand
#
# How long NAT is away when somebody flushes it, and what looking after the rules costs while nobody does.

# use_back_end BACKEND: what `iptables` means on nat-a from now on.
use_back_end() {
    on nat-a bash -ec 'for program in iptables ip6tables; do
        for suffix in "" -save -restore; do ln -sfn "/usr/sbin/$program-$0$suffix" "/etc/alternatives/$program$suffix"; done
    done' "$1"
}
# flush_times N PAUSE: seconds from `iptables -t nat -F` to the first look that finds natfleet's rules there again, N times. Each
# time for an agent that has just started: one that had to put rules back three times in five minutes waits on purpose.
flush_times() {
    local round
    for ((round = 0; round < $1; round++)); do
        stop_agent
        resume_agent
        # Its first looks are over, and what it rests after them: a look takes no more than a twentieth of the time.
        sleep "$2"
        on nat-a bash -ec '
            iptables -t nat -F
            start=$EPOCHREALTIME
            # One transaction a table: with the jump all of it is there.
            until [[ $(iptables -t nat -S POSTROUTING) == *NATFLEET-POST* ]]; do
                ((SECONDS < 90)) || exit 1
                sleep 0.005
            done
            echo "$start $EPOCHREALTIME"' | awk '{ print $2 - $1 }'
    done
}

# care SECONDS: CPU of the agent and the programs it ran in that time, in ticks a minute.
care() {
    local pid before
    pid=$(host_pid nat-a)
    before=$(ticks "$pid")
    sleep "$1"
    echo $((($(ticks "$pid") - before) * 60 / $1))
}
# looks N PAUSE: the same ticks for one whole look: a foreign rule comes and goes N times, and each time all rules are read.
looks() {
    local pid before round
    pid=$(host_pid nat-a)
    before=$(ticks "$pid")
    for ((round = 0; round < $1; round++)); do
        on nat-a bash -c 'iptables -I INPUT -s 192.0.2.1 -j DROP; sleep "$0"; iptables -D INPUT -s 192.0.2.1 -j DROP; sleep "$0"' "$2"
    done
    awk -v ticks="$(($(ticks "$pid") - before))" -v looks="$(($1 * 2))" 'BEGIN { print ticks / looks }'
}

bench_repair() {
    local backend count aim seconds rounds period pause look idle
    printf '\n%-46s %12s %12s %14s %14s\n' "flush by hand" "repaired s" "" "one look" "idle"
    for backend in nft legacy; do
        stop_agent
        use_back_end "$backend"
        resume_agent
        for count in 100 10000; do
            aim="<=1" rounds=3 period=30 pause=4
            ((count < 1000)) || pause=10
            # A minute has all kinds of looks at few legacy rules in it; what many cost comes with the look at everything, every five.
            [ "$backend" = nft ] || aim="<=10" period=60
            [ "$backend$count" != legacy10000 ] || period=300
            [ "$backend$count" != legacy10000 ] || rounds=1
            policy "$count" >"$work/repair.yaml"
            timed_apply "$work/repair.yaml" >/dev/null
            # Not in a pipe, which the agent that it starts would keep open.
            flush_times "$rounds" "$pause" >"$work/flushes"
            seconds=$(median <"$work/flushes")
            sleep 12
            # The legacy back end sends no news: its looks are in the idle minute.
            look="-"
            [ "$backend" = legacy ] || look="$(looks 2 "$pause") ticks"
            # By then it has put many port forwards away, which is a part of what came before.
            sleep 15
            idle=$(care "$period")
            # 0.1 % of a processor.
            printf '%-46s %12.2f %12s %14s %6d ticks/min %s\n' "iptables-$backend, $count port forwards" "$seconds" \
                "$(versus "$seconds" "$aim")" "$look" "$idle" "$(versus "$idle" "<$(($(getconf CLK_TCK) * 6 / 100))")"
        done
        remove_policy
    done
    stop_agent
    use_back_end nft
    resume_agent
}
