# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: natfleet contributors
# shellcheck shell=bash
# shellcheck disable=SC2154 # what selftest sets
#
# How labs begin and end.

# remember LAB: the namespaces of a lab, by inode.
remember() {
    local host pid
    remembered=("$(readlink "/proc/$("$lab" pid "$1" router)/ns/pid")")
    for host in router nat-a nat-c internet; do
        pid=$("$lab" pid "$1" "$host")
        remembered+=("$(readlink "/proc/$pid/ns/net")" "$(readlink "/proc/$pid/ns/mnt")")
    done
}

# gone: no process is in a remembered namespace, and the machine sees no mount or named namespace of a lab.
gone() {
    local try left
    for ((try = 0; try < 100; try++)); do
        left=$(readlink /proc/[0-9]*/ns/{pid,net,mnt} 2>/dev/null | grep -cFx "$(printf '%s\n' "${remembered[@]}")")
        [[ $left != 0 ]] || break
        sleep 0.05
    done
    is "$1: processes left" 0 "$left"
    is "$1: mounts left" "" "$(grep -e natfleet-lab -e /run/lab /proc/self/mountinfo)"
    is "$1: names left" "" "$(ip netns list | grep -e nat-a -e router)"
    is "$1: labs left" "" "$("$lab" list | grep -F "$one")"
}

# hold: starts a held lab whose input is the fifo, and waits until it is up.
hold() {
    local line
    rm -f "$scratch/in" "$scratch/out"
    mkfifo "$scratch/in" "$scratch/out"
    env --default-signal=INT "$lab" up "$one" --hold <"$scratch/in" >"$scratch/out" 2>"$scratch/err" 7>&- &
    holder=$!
    exec 7>"$scratch/in"
    read -r line <"$scratch/out"
    is "held" ready "$line"
    remember "$one"
}

test_life() {
    local signal status begun pids try
    say "two at once"
    "$lab" up "$one" &
    "$lab" up "$two"
    wait
    is "listed" "$one up $two up" "$("$lab" list | grep -F "$one" | sort | xargs)"
    no "a name that is taken" "$lab" up "$one"
    is "its host" "server-a saw 10.0.1.10 port*" "$("$lab" ask "$one" client-a tcp 10.0.1.80 80)"
    is "the other has not seen it" "" "$("$lab" seen "$two" server-a)"
    on nat-a bash -c 'echo mine >/etc/lab-test; mkdir /var/lib/lab-test; touch /run/lab-test; iptables -A INPUT'
    is "files of a host" "mine" "$(on nat-a cat /etc/lab-test)"
    no "not of the next one" on nat-b cat /etc/lab-test
    no "not of the other lab's" "$lab" exec "$two" nat-a cat /etc/lab-test
    no "not of the machine" ls /etc/lab-test /var/lib/lab-test /run/lab-test
    is "rules of a host" 0 "$("$lab" exec "$two" nat-a iptables-save | grep -c INPUT)"
    remember "$two"
    "$lab" down "$two"
    is "the other ends alone" "$one up" "$("$lab" list | grep -F "$one" | xargs)"

    say "commands on hosts"
    is "input and output" "a b" "$(printf 'a b' | on nat-a cat)"
    on nat-a bash -c 'exit 7'
    is "exit status" 7 "$?"
    # shellcheck disable=SC2016 # for the inner shell
    is "environment, name" "x nat-b" "$(X=x on nat-b bash -c 'echo $X $(hostname)')"
    "$lab" exec "$one" nat-a sh -c 'trap "echo caught; exit 3" TERM; echo; while :; do sleep 0.05; done' >"$scratch/said" &
    pids=$!
    until [[ -s $scratch/said ]]; do sleep 0.05; done
    kill -TERM "$pids"
    wait "$pids"
    is "TERM is passed on" "3 caught" "$? $(xargs <"$scratch/said")"
    "$lab" exec "$one" nat-a sleep 987654 &
    pids=$!
    until on nat-a pgrep -f '^sleep 987654' >/dev/null; do sleep 0.05; done
    disown "$pids"
    kill -KILL "$pids"
    sleep 0.2
    no "KILL is too" on nat-a pgrep -f '^sleep 987654'
    is "no zombies" "" "$(on nat-a ps -eo stat=,ppid=,args= | grep "^Z *1 ")"
    remember "$one"
    "$lab" exec "$one" nat-a sleep 1000 &
    sleep 0.1
    "$lab" down "$one"
    wait
    gone "down"

    for signal in EOF KILL TERM INT HUP; do
        say "a held lab and $signal"
        hold
        [[ $signal == EOF ]] || kill -"$signal" "$holder"
        [[ $signal != EOF ]] || exec 7>&-
        wait "$holder" 2>/dev/null
        status=$?
        exec 7>&-
        case $signal in EOF) is "status" 0 "$status" ;; *) is "status" $((128 + $(kill -l "$signal"))) "$status" ;; esac
        gone "$signal"
    done

    say "its parent is killed"
    # shellcheck disable=SC2016 # for the inner shell
    bash -c 'sleep 1000 | "$1" up "$2" --hold >"$3" 2>&1 & echo $!; exec sleep 1000' parent "$lab" "$one" "$scratch/ready" \
        >"$scratch/job" &
    holder=$!
    until [[ -s $scratch/ready ]]; do sleep 0.05; done
    remember "$one"
    pids=$(pgrep -P "$holder" -x sleep)
    disown "$holder"
    kill -KILL "$holder"
    kill -KILL "$pids"
    gone "parent killed"

    say "killed while coming up"
    for begun in 0.02 0.1 0.3 0.5 0.7 1.0; do
        for signal in KILL INT; do
            env --default-signal=INT "$lab" up "$one" >/dev/null 2>&1 &
            holder=$!
            sleep "$begun"
            disown "$holder"
            kill -"$signal" "$holder" 2>/dev/null
            for ((try = 0; try < 100; try++)); do
                "$lab" list | grep -qF "$one" || break
                sleep 0.05
            done
            is "$signal after $begun s" '[0-9]?([0-9])' "$try"
        done
    done
    remembered=(none)
    gone "killed while coming up"
    is "processes" 0 "$(pgrep -fc -- "lab up $one")"
}
