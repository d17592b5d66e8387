# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: natfleet contributors
# shellcheck shell=bash
# shellcheck disable=SC2154 # what common.sh sets
#
# up, down, list. A lab is one process, the keeper, which is pid 1 of its own pid namespace and holds all other
# namespaces and mounts: when it dies nothing is left, whoever or whatever killed it. What stays behind then is a folder
# with three small files, swept by the next up, down or list.
#
# Descriptors while a lab comes up: 3 keeper's reports, 4 its control pipe, 5 and 6 the two ends of 3, 9 the lock.

# Runs a command while no other lab is made or removed.
exclusively() {
    mkdir -p "$lab_state"
    exec 8>"$lab_state/.lock"
    flock 8
    "$@"
    local status=$?
    exec 8>&-
    return "$status"
}

sweep() {
    local dir
    for dir in "$lab_state"/*/; do
        [[ -d $dir ]] || continue
        flock -n "$dir/lock" true 8>&- 2>/dev/null && rm -rf "$dir"
    done
    return 0
}

claim() {
    sweep
    mkdir "$dir" 2>/dev/null || return 1
    exec 9>"$dir/lock"
    flock -n 9
}

need_tools() {
    local tool missing=()
    for tool in unshare nsenter setpriv setsid flock ip iptables-restore ip6tables-restore radvd socat conntrack \
        tcpdump ping pgrep script; do
        command -v "$tool" >/dev/null || missing+=("$tool")
    done
    [[ ${#missing[@]} -eq 0 ]] || die 1 "missing: ${missing[*]}; on Debian and Ubuntu: apt-get install -y" \
        "util-linux iproute2 iptables radvd socat conntrack tcpdump iputils-ping procps"
    case $lab_lib/ in /run/* | /var/run/*) die 1 "the lab hides /run from its hosts: move this folder elsewhere" ;; esac
}

# Ends the lab that this command is bringing up or holding.
finish() {
    local jobs
    trap '' INT TERM HUP
    jobs=$(jobs -p)
    # shellcheck disable=SC2086 # a list
    [[ -z $jobs ]] || { kill -KILL $jobs && wait $jobs; } 2>/dev/null
    exec 9>&-
    exclusively sweep
    exit "$1"
}

launch() {
    exec 6<> <(:)
    exec 5</dev/fd/6
    if [[ $hold ]]; then
        # The kernel kills the launcher when this shell dies, and the keeper when the launcher does.
        setpriv --pdeathsig KILL bash "$lab_lib/keeper.sh" launch "$$" hold \
            <&0 >"$dir/log" 2>&1 3>&6 5<&- 6>&- &
    else
        exec 4<> <(:)
        setsid bash "$lab_lib/keeper.sh" launch "$$" detached \
            </dev/fd/4 >"$dir/log" 2>&1 3>&6 4>&- 5<&- 6>&- &
    fi
    launcher=$!
    exec 6>&- 9>&-
}

# Which process holds which host, found from outside: pids inside the lab mean nothing here.
record_pids() {
    local keeper child entry
    keeper=$(pgrep -P "$launcher") || return 1
    {
        printf 'keeper %s %s\n' "$keeper" "$(start_time "$keeper")"
        for child in $(pgrep -P "$keeper"); do
            while IFS= read -r -d '' entry; do
                [[ $entry != NATFLEET_LAB_HOST=* ]] || printf '%s %s\n' "${entry#*=}" "$child"
            done <"/proc/$child/environ"
        done
    } >"$dir/pids.new" 2>/dev/null
    mv "$dir/pids.new" "$dir/pids"
}

lab_up() {
    local name='' hold='' verbose='' word rest ready='' reason='' launcher dir
    for word; do
        case $word in
            --hold) hold=1 ;;
            -v | --verbose) verbose=1 ;;
            -*) die 2 "up has no option '$word'; it has --hold and -v" ;;
            *)
                [[ -z $name ]] || die 2 "up takes one name"
                name=$word
                ;;
        esac
    done
    [[ $name ]] || die 2 "up needs a name: lab up NAME"
    check_name "$name"
    need_root
    need_tools
    dir=$lab_state/$name
    # Before anything is made: bash without a trap ignores a SIGINT that the program it waits for has survived.
    trap 'finish 130' INT
    trap 'finish 143' TERM
    trap 'finish 129' HUP
    exclusively claim || die 4 "lab '$name' is there already: lab down $name removes it"
    launch
    while read -r word rest <&5; do
        case $word in
            step) [[ -z $verbose ]] || printf '%s\n' "$rest" >&2 ;;
            fail) reason=$rest ;;
            ready)
                ready=1
                break
                ;;
        esac
    done
    if [[ -z $ready ]] || ! record_pids; then
        tail -n 20 "$dir/log" >&2
        printf "lab: '%s' did not come up: %s\n" "$name" "${reason:-its keeper was killed}" >&2
        finish 1
    fi
    if [[ -z $hold ]]; then
        printf 'detach\n' >&4
        return 0
    fi
    printf 'ready\n'
    wait "$launcher" 2>/dev/null
    finish 0
}

lab_down() {
    local dir=$lab_state/${1-} key pid start
    [[ $# -eq 1 ]] || die 2 "down needs one name: lab down NAME"
    check_name "$1"
    need_root
    [[ -d $dir ]] || die 3 "no lab '$1': lab list shows those that are up"
    # A lab that is just coming up has no pids yet.
    while [[ -d $dir && ! -e $dir/pids ]] && ! flock -n "$dir/lock" true; do sleep 0.1; done
    if { read -r key pid start <"$dir/pids"; } 2>/dev/null && [[ $key == keeper ]] && ! flock -n "$dir/lock" true; then
        [[ $(start_time "$pid") != "$start" ]] || kill -KILL "$pid" 2>/dev/null
        flock -w 20 "$dir/lock" true || die 1 "lab '$1' (process $pid) does not end"
    fi
    exclusively sweep
}

lab_list() {
    local dir
    need_root
    exclusively sweep
    for dir in "$lab_state"/*/; do
        [[ -d $dir ]] || continue
        dir=${dir%/}
        printf '%s\t%s\n' "${dir##*/}" "$([[ -e $dir/pids ]] && echo up || echo starting)"
    done
}
