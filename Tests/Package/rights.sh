# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: natfleet contributors
# shellcheck shell=bash
#
# What the units may do on a machine: enough, and no more. Sourced by `run`.

# What the loss of each capability of the units shows, as the journal says it. NET_RAW is iptables-legacy's.
declare -A missed=(
    [cap_net_admin]="Could not fetch rule set generation id: Permission denied"
    [cap_net_raw]="unable to initialize table"
    [cap_sys_admin]="unshare failed: Operation not permitted"
)

# restores WHAT [LINE…]: natfleet-forwarding.service as it is packaged, with these lines besides, on a copy of the agent's state
# and in an empty network of its own: whether it loads the rules that were confirmed. Its journal is in $work/rights.
restores() {
    local what=$1
    shift
    # shellcheck disable=SC2016 # for the inner shell
    in_machine nat-a sh -ec '
        rm -rf /var/lib/natfleet-agent/rights
        mkdir /var/lib/natfleet-agent/rights
        cp /var/lib/natfleet-agent/applied.json /var/lib/natfleet-agent/rights
        cd /run/systemd/system
        cp /lib/systemd/system/natfleet-forwarding.service natfleet-rights.service
        mkdir -p natfleet-rights.service.d
        printf "%s\n" "$@" >natfleet-rights.service.d/rights.conf
        systemctl daemon-reload' sh '[Service]' RemainAfterExit=no PrivateNetwork=yes \
        Environment=NATFLEET_STATE_DIR=/var/lib/natfleet-agent/rights "SyslogIdentifier=$what" "$@"
    local status=0
    in_machine nat-a systemctl start natfleet-rights 2>/dev/null || status=$?
    in_machine nat-a journalctl --no-pager -o cat -t "$what" >"$work/rights"
    return $status
}

check_rights() {
    local unit capability legacy
    # What iptables leads to is legacy, for this service alone.
    legacy=BindReadOnlyPaths=/usr/sbin/xtables-legacy-multi:/usr/sbin/xtables-nft-multi
    for unit in natfleet-agent natfleet-forwarding; do
        expect "$unit's capabilities" "$(tr ' ' '\n' <<<"${!missed[@]}" | sort | xargs)" \
            in_machine nat-a systemctl show --value -p CapabilityBoundingSet "$unit"
        # Of libdispatch, which else complains in the journal: getrlimit(2) counts from 20 down.
        expect "$unit's threads may go to nice -4" 24 in_machine nat-a systemctl show --value -p LimitNICE "$unit"
        in_machine nat-a systemd-analyze security --no-pager --threshold=31 "$unit" >"$work/rights" ||
            { tail -n 1 "$work/rights"; failed "$unit is less confined than it was"; }
    done
    expect "natfleet-agent's memory limit" "536870912" \
        in_machine nat-a systemctl show --value -p MemoryMax natfleet-agent
    # NET_ADMIN, NET_RAW, SYS_ADMIN: bits 12, 13 and 21.
    expect "the running agent has these alone" "0000000000203000 0000000000203000 0000000000203000" agent_capabilities
    expect "it may not write programs or settings of the kernel" "refused" confined
    # Each is missed when it is not there, and nothing else is when all are.
    restores with-nft || { cat "$work/rights"; failed "the unit does not restore in an empty network"; }
    restores with-legacy "$legacy" || { cat "$work/rights"; failed "the unit does not restore with iptables-legacy"; }
    for capability in "${!missed[@]}"; do
        local lines=("CapabilityBoundingSet=~${capability^^}")
        [ "$capability" != cap_net_raw ] || lines+=("$legacy")
        ! restores "without-$capability" "${lines[@]}" || failed "nothing misses $capability: take it out of the units"
        grep -qF "${missed[$capability]}" "$work/rights" ||
            { cat "$work/rights"; failed "without $capability the journal does not say: ${missed[$capability]}"; }
        printf 'ok  %-52s %s\n' "without $capability" "${missed[$capability]}"
    done
    in_machine nat-a sh -c 'rm -rf /run/systemd/system/natfleet-rights.service* /var/lib/natfleet-agent/rights
        systemctl daemon-reload; systemctl reset-failed'
}

agent_capabilities() {
    local pid
    pid=$(in_machine nat-a systemctl show --value -p MainPID natfleet-agent)
    in_machine nat-a awk '/^Cap(Prm|Eff|Bnd)/ { printf "%s%s", between, $2; between = " " }' "/proc/$pid/status"
}

confined() {
    local pid path
    pid=$(in_machine nat-a systemctl show --value -p MainPID natfleet-agent)
    # That it is asked in the right place: what it has to write.
    in_machine nat-a nsenter --mount -t "$pid" sh -c 'true >>/proc/sys/net/ipv4/ip_forward'
    for path in /usr/bin/natfleet-agent /etc/passwd /var/lib/dpkg/status /proc/sys/kernel/core_pattern; do
        ! in_machine nat-a nsenter --mount -t "$pid" sh -c "true >>$path" 2>/dev/null || { echo "$path"; return; }
    done
    echo refused
}
