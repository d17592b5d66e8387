# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: natfleet contributors
# shellcheck shell=bash
# shellcheck disable=SC2154 # what common.sh sets
#
# Verbs that act inside a lab that is up.

enter=(nsenter --mount --uts --net --pid)

# inside CMD...: runs CMD on the host of $pid, as if it ran here: signals are passed on, kill -9 of this command kills it.
# nsenter has to fork for the pid namespace, and bash ignores SIGINT for its children: hence the rest of it.
inside() {
    local child target result status='' caught='' signal here=$PWD
    # Hosts have /run to themselves.
    case $here/ in /run/*) here=/ ;; esac
    setpriv --pdeathsig KILL "${enter[@]}" -t "$pid" -- \
        setpriv --pdeathsig KILL env -C "$here" --default-signal=INT,QUIT -- "$@" <&0 &
    child=$!
    for signal in TERM HUP USR1 USR2 QUIT INT; do
        # A terminal sends these two to everybody by itself.
        [[ -t 0 && $signal =~ ^(INT|QUIT)$ ]] && target=caught=1 || target="caught=1; pass_on $signal $child"
        # shellcheck disable=SC2064 # expanded now, on purpose
        trap "$target" "$signal"
    done
    # A signal ends the wait early; the status is that of the wait which none ended.
    while :; do
        caught=
        wait "$child" 2>/dev/null
        result=$?
        [[ $status && $result -eq 127 ]] || status=$result
        [[ $caught ]] || return "$status"
    done
}

pass_on() {
    local command
    command=$(pgrep -P "$2") || command=$2
    kill -"$1" "$command" 2>/dev/null
}

lab_exec() {
    [[ $# -ge 3 ]] || die 2 "exec needs a lab, a host and a command: lab exec NAME HOST -- CMD"
    need_root
    host_pid "$1" "$2"
    shift 2
    [[ $1 != -- ]] || shift
    inside "$@"
}

lab_shell() {
    [[ $# -eq 2 ]] || die 2 "shell needs a lab and a host: lab shell NAME HOST"
    need_root
    host_pid "$1" "$2"
    # A terminal of its own: the caller's belongs to a session that the lab's processes can't see.
    exec "${enter[@]}" -t "$pid" -- setpriv --pdeathsig KILL \
        script -q -c "PS1='[$1 $2 \\W]# ' exec bash --norc --noprofile" /dev/null
}

lab_pid() {
    [[ $# -eq 2 ]] || die 2 "pid needs a lab and a host: lab pid NAME HOST"
    host_pid "$1" "$2"
    printf '%s\n' "$pid"
}

lab_ask() {
    [[ $# -ge 4 ]] || die 2 "ask needs more: lab ask NAME HOST tcp|udp|ping ADDRESS [PORT [SECONDS]]"
    lab_exec "$1" "$2" bash "$lab_lib/ask.sh" "${@:3}"
}

lab_serve() {
    [[ $# -ge 4 ]] || die 2 "serve needs more: lab serve NAME HOST tcp|udp PORT[-PORT] ..."
    lab_exec "$1" "$2" bash "$lab_lib/serve.sh" "${@:3}"
}

lab_seen() {
    [[ $# -eq 2 ]] || die 2 "seen needs a lab and a host: lab seen NAME HOST"
    lab_exec "$1" "$2" cat /run/lab/seen
}

lab_seen_reset() {
    local host
    [[ $# -eq 1 || $# -eq 2 ]] || die 2 "seen-reset needs a lab: lab seen-reset NAME [HOST]"
    need_root
    for host in ${2-internet outsider server-a server-b server-c}; do
        host_pid "$1" "$host"
        inside truncate -s 0 /run/lab/seen || return
    done
}

lab_leaks() {
    [[ $# -eq 2 ]] || die 2 "leaks needs a lab and an instance: lab leaks NAME INSTANCE"
    [[ $2 == nat-* ]] || die 3 "leaks are counted for NAT instances, and '$2' is none"
    host_pid "$1" "$2"
    # shellcheck disable=SC2016 # for the inner shell and awk
    lab_exec "$1" router bash -c '
        set -e -o pipefail
        count() { "$1" -w 10 -t raw -nvxL "$2" | awk "NR > 2 { n += \$1 } END { print n + 0 }"; }
        printf "ipv4=%s ipv6=%s\n" "$(count iptables "$1")" "$(count ip6tables "$1")"
    ' leaks "LEAK-$2"
}

lab_leaks_reset() {
    [[ $# -eq 1 ]] || die 2 "leaks-reset needs a lab: lab leaks-reset NAME"
    lab_exec "$1" router bash -c 'iptables -w 10 -t raw -Z && ip6tables -w 10 -t raw -Z'
}
