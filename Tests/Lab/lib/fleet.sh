# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: natfleet contributors
# shellcheck shell=bash
# shellcheck disable=SC2154,SC2016 # lab, name and bin: of whoever sources this; inner shells expand
#
# A controller and agents in a lab: real programs, real files of their own.

controller_data=/var/lib/natfleet
controller_url=https://10.0.0.5:8443

on() { "$lab" exec "$name" "$@"; }

# The operator sits on the controller's host.
natfleet() {
    printf '$ natfleet %s\n' "${*//$here\/policies\//}" >&2
    on controller env -C "$here" NATFLEET_CONFIG="$controller_data/admin.yaml" "$bin/natfleet" "$@"
}

# wait_for SECONDS WHAT CMD...
wait_for() {
    local deadline=$((SECONDS + $1)) what=$2
    shift 2
    until "$@" >/dev/null 2>&1; do
        if ((SECONDS >= deadline)); then
            printf 'gave up waiting for %s\n' "$what" >&2
            return 1
        fi
        sleep 0.1
    done
}

start_controller() {
    on controller bash -c "exec '$bin/natfleet' serve --data '$controller_data' --listen 10.0.0.5:8443 \
        --advertise controller >/run/natfleet.log 2>&1" </dev/null &
    if ! wait_for 20 "the controller" on controller env NATFLEET_CONFIG="$controller_data/admin.yaml" \
        "$bin/natfleet" get instances; then
        on controller cat /run/natfleet.log >&2
        return 1
    fi
    ca_hash=$(on controller bash -c \
        "openssl x509 -in '$controller_data/pki/ca.pem' -outform DER | sha256sum | cut -d' ' -f1")
}

# start_agent INSTANCE LABEL: a join token, agent.conf, the agent.
start_agent() {
    local instance=$1 token
    token=$(natfleet token create --instance "$instance" --label "$2" 2> >(grep '^\$' >&2)) || return
    on "$instance" bash -ec '
        mkdir -p /etc/natfleet
        umask 077
        printf "NATFLEET_%s\n" "CONTROLLER=$1" "CA_HASH=$2" "JOIN_TOKEN=$3" >/etc/natfleet/agent.conf
    ' conf "$controller_url" "$ca_hash" "$token" || return
    on "$instance" bash -c "exec '$bin/natfleet-agent' run >>/run/agent.log 2>&1" </dev/null &
}

# wait_instances N: until N have checked in.
wait_instances() {
    wait_for 30 "$1 instances" bash -c '
        [[ $("$0" exec "$1" controller -- env NATFLEET_CONFIG="$2" "$3" get instances -o json |
            grep -c "\"lastSeen\"") -ge $4 ]]
    ' "$lab" "$name" "$controller_data/admin.yaml" "$bin/natfleet" "$1"
}

count_rules() { on "$1" bash -c '{ iptables-save; ip6tables-save; } | grep -c NATFLEET' || true; }
