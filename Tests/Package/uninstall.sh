# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: natfleet contributors
# shellcheck shell=bash
# shellcheck disable=SC2154 # work, name, lab: of whoever sources this
#
# natfleet-agent uninstall on a machine that is run by systemd, and a boot after it: nothing of natfleet's comes back. After
# firewall.sh, whose machine it takes.

# natfleets: rules of both families and files that are natfleet's; the first line says whether there are any.
natfleets() {
    local found
    found=$(
        in_machine nat-b sh -c 'iptables-save; ip6tables-save' | grep NATFLEET
        # shellcheck disable=SC2016 # for the inner shell
        in_machine nat-b sh -c 'ls -d /var/lib/natfleet-agent /etc/sysctl.d/90-natfleet.conf /etc/modules-load.d/natfleet.conf 2>/dev/null'
    )
    printf '%s\n' "${found:-nothing}"
}
units_enabled() { in_machine nat-b systemctl is-enabled natfleet-agent natfleet-forwarding | paste -sd' '; }
units_active() { in_machine nat-b systemctl is-active natfleet-agent natfleet-forwarding | paste -sd' '; }
forwards() { kernel sysctl -n net.ipv4.ip_forward net.ipv6.conf.all.forwarding | paste -sd' '; }

uninstall_and_boot() {
    say "uninstalling, and a boot after it"
    served "before uninstalling"
    expect "the units are on" "enabled enabled" units_enabled
    in_machine nat-b systemctl stop natfleet-agent
    in_machine nat-b natfleet-agent uninstall --yes >"$work/said" || { cat "$work/said"; failed "uninstall"; }
    expect "it says what it did" "removed  IPv4: *" cat "$work/said"
    expect "nothing of natfleet's is there" "nothing" natfleets
    expect "the units are off" "disabled disabled" units_enabled
    halt nat-b
    boot nat-b
    expect "nothing has come back" "nothing" natfleets
    expect "no unit has run" "inactive inactive" units_active
    expect "nothing is forwarded" "0 0" forwards
    expect "nothing else was harmed" "running" in_machine nat-b systemctl is-system-running
    halt nat-b
}
