# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: natfleet contributors
# shellcheck shell=bash
#
# What every verb needs: messages, names, and which labs are alive. A lab's folder on the machine holds
#   lock   flock()ed by its keeper, so it is free exactly when the lab is gone
#   pids   `keeper PID STARTTIME`, then `HOST PID` for each host, as this machine numbers them
#   log    what the keeper and the servers had to say

lab_state=${NATFLEET_LAB_STATE:-/run/natfleet-lab}

die() {
    local code=$1
    shift
    printf 'lab: %s\n' "$*" >&2
    exit "$code"
}

need_root() {
    [[ $EUID -eq 0 ]] || die 1 "network namespaces need root: run it with sudo"
}

check_name() {
    [[ $1 =~ ^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$ ]] ||
        die 2 "'$1' can't name a lab: letters, digits, '.', '_' and '-', starting with a letter or digit"
}

# start_time PID: when the process started, in clock ticks since boot; with the pid it names a process for good.
start_time() {
    local stat
    { read -r stat <"/proc/$1/stat"; } 2>/dev/null || return 1
    # After the command name, which may hold anything, field 3 comes first; 22 is the start.
    read -ra stat <<<"${stat##*) }"
    printf '%s' "${stat[19]}"
}

# host_pid NAME HOST: sets $pid to the process that holds the host's namespaces, or ends with a message.
host_pid() {
    local key value start hosts=()
    check_name "$1"
    pid=
    [[ -r $lab_state/$1/pids ]] || die 3 "no lab '$1' is up: lab list shows those that are, lab up $1 makes it"
    while read -r key value start; do
        if [[ $key == keeper ]]; then
            [[ $(start_time "$value") == "$start" ]] || die 3 "lab '$1' has ended: lab up $1 makes it anew"
            continue
        fi
        hosts+=("$key")
        [[ $key != "$2" ]] || pid=$value
    done <"$lab_state/$1/pids"
    [[ -n $pid ]] || die 3 "lab '$1' has no host '$2'; it has: ${hosts[*]}"
}
