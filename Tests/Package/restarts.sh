# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: natfleet contributors
# shellcheck shell=bash
# shellcheck disable=SC2154 # work, name, lab, fresh: of `run`
#
# What an instance does after a reboot, after it was cut off its power, and after a boot in which rules could not be loaded, on the
# back end of iptables that each is told. Sourced by `run`.

# kernel_state: rules of both families without counters, and settings.
kernel_state() {
    local program
    for program in iptables ip6tables; do
        in_machine nat-a "$program-save" | sed -e '/^#/d' -e 's/^\(:.*\) \[.*/\1/'
    done
    settings nat-a
}

# saved_state: what a boot begins with.
saved_state() {
    # shellcheck disable=SC2016 # for the inner shell
    in_machine nat-a sh -ec '
        for file in /etc/iptables/rules.v4 /etc/iptables/rules.v6; do
            sed -e "/^#/d" -e "s/^\(:.*\) \[.*/\1/" "$file"
        done
        cd /var/lib/natfleet-agent
        cat /etc/sysctl.d/90-natfleet.conf applied.json rules.v4 rules.v6'
}

# same WHAT FILE COMMAND…: that the command prints what is in the file, within 30 seconds.
same() {
    local what=$1 file=$2 deadline=$((SECONDS + 30))
    shift 2
    until "$@" >"$work/now" && diff "$file" "$work/now" >"$work/diff"; do
        ((SECONDS < deadline)) || { cat "$work/diff"; failed "$what: differs"; }
        sleep 0.5
    done
    printf 'ok  %s\n' "$what"
}

# no_agent_at_boot: of nat-a, which is off.
no_agent_at_boot() { systemctl --quiet --root="$machines/nat-a" disable natfleet-agent; }

# own_boot_id: from the next boot on the agent sees the machine's boot id. nspawn lays it over the kernel's, and these two give a
# unit a /proc without it.
own_boot_id() {
    mkdir -p "$machines/nat-a/etc/systemd/system/natfleet-agent.service.d"
    printf '[Service]\nProtectControlGroups=no\nProtectKernelTunables=no\n' \
        >"$machines/nat-a/etc/systemd/system/natfleet-agent.service.d/boot-id.conf"
}

journal() { in_machine nat-a journalctl --no-pager -b -o cat -u "$1" --grep "$2"; }
agent_state() { in_machine nat-a natfleet-agent status; }
refusal() { agent_state | grep ^refused; }

# unconfirmed: web-egress in a revision whose trial nobody confirms for ten minutes. It takes IPv6 away and moves the port forward.
unconfirmed() {
    in_machine controller tee trial.yaml >/dev/null <<'YAML'
apiVersion: natfleet/v1
kind: NATPolicy
metadata: {name: web-egress}
spec:
  selector: {matchLabels: {vpc: prod}}
  forwarding: {ipv4: true}
  masquerade:
    - {name: egress, families: [ipv4]}
  dnat:
    - {name: Moved, protocol: tcp, port: 8002, to: "10.0.1.80:9000"}
  rollout: {confirmTimeout: 600s}
YAML
    natfleet apply -f trial.yaml 2>&1
}

# new_connections I|D: of nat-a to the controller, dropped or not; those that stand go on. A trial is confirmed over a new one,
# and to a machine that boots it is as if there were no controller.
new_connections() {
    "$lab" exec "$name" controller -- iptables "-$1" INPUT -s 10.0.0.11 -p tcp --dport 8443 --syn -j DROP
    "$lab" exec "$name" controller -- ip6tables "-$1" INPUT -s 2001:db8:0:100::11 -p tcp --dport 8443 --syn -j DROP
}

connection() { "$lab" exec "$name" nat-a -- ss -Htn state established dport = :8443; }

# reboot_alone BACKEND: there is no controller, or no agent that asks it.
reboot_alone() {
    say "a reboot of the instance, and no controller: $1"
    halt nat-a
    end_network nat-a "$fresh"
    expect "client-a, the instance being down" "" "$lab" ask "$name" client-a tcp 198.51.100.7 80 1
    boot nat-a
    expect "the restore unit has run" "active" in_machine nat-a systemctl is-active natfleet-forwarding
    packets "rebooted"
    expect "by rules of that back end alone" "$1" back_ends nat-a
}

# changes_to_legacy: as an administrator would, who lets the agent see to its rules.
changes_to_legacy() {
    say "the other back end of iptables: legacy"
    in_machine nat-a systemctl stop natfleet-agent
    use_back_end nat-a legacy
    expect "no rules" "" back_ends nat-a
    in_machine nat-a systemctl start natfleet-agent
    packets "legacy"
    expect "by rules of that back end alone" "legacy" back_ends nat-a
    expect "the instance is healthy" "i-0123456789abcdef0 healthy" enrolled
    in_machine nat-a systemctl --quiet disable natfleet-agent
    reboot_alone legacy
    in_machine nat-a systemctl --quiet enable --now natfleet-agent
}

# power_cut_in_a_trial BACKEND
power_cut_in_a_trial() {
    say "a power cut in the middle of a trial: the policy before it runs: $1"
    expect "the agent waits for news" "*:8443*" connection
    kernel_state >"$work/kernel"
    saved_state >"$work/saved"
    new_connections I
    unconfirmed >/dev/null
    expect "the kernel holds the change" "-A NATFLEET-PRE *8002*" in_machine nat-a sh -c 'iptables -t nat -S | grep 8002'
    expect "it is on trial" "state*trying: a change is on trial" agent_state
    cut_power nat-a
    end_network nat-a "$fresh"
    no_agent_at_boot
    own_boot_id
    boot nat-a
    expect "no agent runs" "inactive" in_machine nat-a systemctl is-active natfleet-agent
    packets "no agent, no controller"
    expect "by rules of that back end alone" "$1" back_ends nat-a
    same "rules and settings are as before the trial" "$work/kernel" kernel_state
    same "and so are the files for the next boot" "$work/saved" saved_state

    in_machine nat-a systemctl enable --quiet --now natfleet-agent
    expect "its journal says that the trial is over" "*policy not applied*" journal natfleet-agent "restarted before the change"
    same "with the agent they stay like that" "$work/kernel" kernel_state
    same "on disk as well" "$work/saved" saved_state
    in_machine nat-a test ! -e /var/lib/natfleet-agent/trial.json
    expect "status tells what was taken back" "refused*web-egress revision *, reverted*" refusal

    new_connections D
    expect "the controller hears of it" "*trial-reverted: *restarted before the change was confirmed*" \
        reported trial-reverted
    same "and it is not tried again" "$work/kernel" kernel_state
    follow controller 5 1 >/dev/null
    expect "the policy of before is in order" "i-0123456789abcdef0 healthy" enrolled
}

# reported CONDITION: what the controller shows of it.
reported() { natfleet describe instance i-0123456789abcdef0 | grep -F "$1"; }

# rules_cannot_be_loaded BACKEND
rules_cannot_be_loaded() {
    local programs=xtables-$1-multi
    say "a boot with a broken file of rules: natfleet has its own: $1"
    halt nat-a
    rm "$machines/nat-a/etc/systemd/system/natfleet-agent.service.d/boot-id.conf"
    end_network nat-a "$fresh"
    echo 'these are no rules' >"$machines/nat-a/etc/iptables/rules.v4"
    no_agent_at_boot
    boot nat-a
    # It loads nothing and is content: a test of the file comes first, and its failure is none.
    expect "netfilter-persistent has loaded no rules" "Error: IPv4 rules failed test load*" journal netfilter-persistent Error
    expect "the restore unit says what was missing" "*IPv4: nat: chain NATFLEET-POST is missing*" \
        journal natfleet-forwarding restored
    packets "broken file, no agent"
    expect "by rules of that back end alone" "$1" back_ends nat-a
    in_machine nat-a systemctl enable --quiet --now natfleet-agent
    expect "the instance says so" "*restore-failed: IPv4: /etc/iptables/rules.v4 was broken*" reported restore-failed
    expect "the file is whole again" "-A PREROUTING -j NATFLEET-PRE" \
        in_machine nat-a grep -e '-j NATFLEET-PRE' /etc/iptables/rules.v4
    expect "what it held is kept" "these are no rules" in_machine nat-a cat /etc/iptables/rules.v4.broken
    in_machine nat-a rm /etc/iptables/rules.v4.broken

    say "a boot without iptables: it does not forward, and says why: $1"
    halt nat-a
    end_network nat-a "$fresh"
    # And somebody turns forwarding on, as most recipes do.
    echo 'net.ipv4.ip_forward = 1' >"$machines/nat-a/etc/sysctl.d/50-recipe.conf"
    mv "$machines/nat-a/usr/sbin/$programs" "$machines/nat-a/opt"
    boot nat-a
    expect "the restore unit has failed" "failed" in_machine nat-a systemctl is-active natfleet-forwarding
    expect "its status says why" "*iptables-save is not installed*restore failed" reason_in_status is.not.installed
    expect "and that it closed the gate" "*ip_forward was 1 without natfleet's rules and is 0 now" reason_in_status ip_forward
    # On a real machine no interface is up yet; the lab's network is there all the time.
    expect "which was before the network comes up" "*network-pre.target*" \
        in_machine nat-a systemctl show --value -p Before natfleet-forwarding
    expect "no forwarding, IPv4 and IPv6" "0 0" forwarding
    "$lab" leaks-reset "$name"
    expect "client-a, IPv4, gets no answer" "" "$lab" ask "$name" client-a tcp 198.51.100.7 80 1
    expect "client-a, IPv6, gets no answer" "" "$lab" ask "$name" client-a tcp 2001:db8:ffff::7 80 1
    expect "and leaves under no address at all" "ipv4=0 ipv6=0" "$lab" leaks "$name" nat-a
    expect "the agent runs and says why as well" "*apply-failed: iptables is not installed*" reported apply-failed
    in_machine nat-a mv "/opt/$programs" /usr/sbin
    packets "iptables is back"
    expect "the instance is healthy" "i-0123456789abcdef0 healthy" enrolled
    expect "and left to mend is" "*forwards-at-boot: /etc/sysctl.d/50-recipe.conf:1 *" reported forwards-at-boot
    in_machine nat-a rm /etc/sysctl.d/50-recipe.conf
    in_machine nat-a systemctl restart natfleet-forwarding natfleet-agent
    expect "mended" "running" in_machine nat-a systemctl is-system-running
}

reason_in_status() { in_machine nat-a systemctl status --no-pager --lines=20 natfleet-forwarding | grep -e "$1"; }
forwarding() { in_machine nat-a cat /proc/sys/net/ipv4/ip_forward /proc/sys/net/ipv6/conf/all/forwarding | xargs; }
