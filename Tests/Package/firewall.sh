# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: natfleet contributors
# shellcheck shell=bash
# shellcheck disable=SC2154 # work, name, lab: of whoever sources this
#
# A machine in whose charge another firewall is, ufw and then firewalld, as the distribution has them: natfleet on it, brought
# by cloud-init, the other one reloaded meanwhile, and a reboot.

others+=("procps ufw firewalld")

# prepare_nat_b: with the packages that are tried out there. firewalld would start by itself.
prepare_nat_b() {
    boot nat-b
    in_machine nat-b systemctl --quiet mask firewalld
    in_machine nat-b apt-get -qq install procps ufw cloud-init firewalld >"$work/apt" 2>&1 ||
        { tail -n 5 "$work/apt"; failed "apt-get install"; }
}

# kernel COMMAND…: in the machine's network, with this machine's programs.
kernel() { "$lab" exec "$name" nat-b -- "$@"; }

# theirs: all rules but natfleet's, without counters.
theirs() {
    # shellcheck disable=SC2016 # for the inner shell
    in_machine nat-b bash -c 'for program in iptables ip6tables; do
        $program-save | grep -vE "^#|NATFLEET-" | sed -E "s/\[[0-9]+:[0-9]+\]/[]/"; done'
}

# last_rule CHAIN: of IPv4.
last_rule() { in_machine nat-b sh -c "iptables -S $1 | tail -n 1"; }

# first_rules CHAIN: of both families, without the policy.
first_rules() { in_machine nat-b sh -c "iptables -S $1 | sed -n 2p; ip6tables -S $1 | sed -n 2p" | paste -sd' '; }

# shown [CODE]: the instance's conditions, or the message of one.
shown() {
    natfleet describe instance i-nat-b | awk -v code="${1-}" '
        /^[^ ]/ { inside = /^Conditions:/ }
        inside && /^  [a-z]/ { sub(/:$/, "", $2); if (code == "") list = list $2 " "; else if ($2 == code) print }
        END { if (code == "") print (list == "" ? "none" : list) }'
}

# shown_of CODE FAMILY: of one family.
shown_of() { shown "$1" | grep " $2, "; }

served() {
    expect "client-b -> internet, IPv4, $1" "internet saw 203.0.113.12 *" "$lab" ask "$name" client-b tcp 198.51.100.7 80
    expect "client-b -> internet, IPv6, $1" "internet saw 2001:db8:0:100::12 *" \
        "$lab" ask "$name" client-b tcp 2001:db8:ffff::7 80
}

# connections ADDRESS: for 5 seconds one that stays, and new ones all the time; prints what is lost.
connections() {
    # shellcheck disable=SC2016 # for the inner shell
    "$lab" exec "$name" client-b -- timeout 20 bash -c '
        exec 3<>"/dev/tcp/$0/80"
        ask() { echo "$1" >&"$2" && read -r -t 1 line <&"$2" && [[ $line == $3 ]] || echo "lost: $1"; }
        ask hello 3 "internet saw *"
        for ((n = 0; SECONDS < 5; n++)); do
            ask "$n" 3 "$n"
            { exec 4<>"/dev/tcp/$0/80" && ask "new $n" 4 "internet saw *"; } || echo "lost: new $n"
            exec 4>&-
            sleep 0.05
        done
        ((n > 20)) || echo "only $n"' "$1"
}

# unharmed COMMAND…: neither a connection nor a rule of others is lost while it runs.
unharmed() {
    local running=() family
    theirs >"$work/theirs"
    for family in 198.51.100.7 2001:db8:ffff::7; do
        connections "$family" >"$work/lost.$family" 2>&1 &
        running+=($!)
    done
    sleep 1
    in_machine nat-b "$@" >"$work/said" 2>&1 || { cat "$work/said"; failed "$*"; }
    wait "${running[@]}"
    if [ -s "$work/lost.198.51.100.7" ] || [ -s "$work/lost.2001:db8:ffff::7" ]; then
        head -n 5 "$work"/lost.*
        failed "$*: connections are lost"
    fi
    theirs | diff "$work/theirs" - || failed "$*: others' rules have changed"
    printf 'ok  %s: nothing is lost\n' "$*"
}

# routed_by_ufw: what it does with packets that are forwarded.
routed_by_ufw() { in_machine nat-b ufw status verbose | grep -o '[a-z]* (routed)'; }
kept_by() { natfleet describe instance i-nat-b | sed -n 's/^Kept over reboots: *//p'; }
lasting() { in_machine nat-b natfleet-agent doctor | grep persistence; }

# by_hand SED: a rule that goes before everything, as ufw puts it there when it starts or is reloaded.
by_hand() { in_machine nat-b sed -i "$1" /etc/ufw/before.rules /etc/ufw/before6.rules; }

beside_ufw() {
    say "ufw in charge, denying what is routed"
    in_machine nat-b sh -c 'ufw allow 22/tcp; ufw --force enable' >"$work/said"
    expect "ufw forwards nothing" "disabled (routed)" routed_by_ufw
    configured_by_cloud_init i-nat-b
    expect "ufw is seen" "by natfleet's own (ufw is in charge)" kept_by
    expect "nothing is wrong" "none" shown
    expect "ufw's default" "deny (routed)" routed_by_ufw
    served "ufw denying"
    unharmed ufw reload
    expect "nothing was put back" "none" shown

    # What ufw is told to keep from being routed comes after natfleet's ACCEPT.
    in_machine nat-b sh -c 'ufw route deny from 10.0.2.0/24; ufw route deny from 2001:db8:0:102::/64' >"$work/said"
    served "ufw denying them by name"
    by_hand '/^COMMIT/i -I FORWARD -m comment --comment byhand -j DROP'
    in_machine nat-b ufw reload >"$work/said"
    theirs >"$work/theirs"
    expect "natfleet's jumps are first again" "-A FORWARD -j NATFLEET-FWD -A FORWARD -j NATFLEET-FWD" first_rules FORWARD
    expect "and it is told why" '*warning drift-repaired *drops them: -A FORWARD -m comment --comment byhand -j DROP*' shown drift-repaired
    served "repaired"
    theirs | diff "$work/theirs" - || failed "others' rules have changed"
    expect "a reboot changes nothing" "ok *natfleet's own (ufw is in charge)" lasting
}

# reboot_beside_ufw BACKEND
reboot_beside_ufw() {
    say "a reboot beside ufw: $1"
    halt nat-b
    end_network nat-b "$fresh"
    boot nat-b
    expect "ufw has started" "deny (routed)" routed_by_ufw
    expect "the restore unit has run" "active" in_machine nat-b systemctl is-active natfleet-forwarding
    expect "natfleet's jumps are first" "-A FORWARD -j NATFLEET-FWD -A FORWARD -j NATFLEET-FWD" first_rules FORWARD
    served "rebooted beside ufw"
    expect "by rules of that back end alone" "$1" back_ends nat-b
    expect "nothing is wrong" "none" shown
}

# of_firewalld: its rules that iptables does not show; none where it makes them with iptables.
of_firewalld() { kernel nft list table inet firewalld 2>"$work/said" || true; }

beside_firewalld() {
    say "firewalld in charge"
    in_machine nat-b sh -c 'ufw disable; systemctl disable --now ufw; systemctl unmask firewalld; systemctl enable --now firewalld' \
        >"$work/said" 2>&1 || { cat "$work/said"; failed "systemctl enable firewalld"; }
    # It forwards nothing between interfaces that it was not told of.
    for family in IPv4 IPv6; do
        expect "who rejects clients is named, $family" "*critical probe-failed $family, *'inet firewalld filter_FORWARD'*" \
            shown_of probe-failed "$family"
    done
    in_machine nat-b sh -c 'firewall-cmd --permanent --zone=public --add-interface=eth0; firewall-cmd --reload' >"$work/said"
    of_firewalld >"$work/firewalld"
    [ -s "$work/firewalld" ] || failed "firewalld has no table"
    served "firewalld, told of the interface"
    expect "rules that it flushed are back" "-A FORWARD -j NATFLEET-FWD -A FORWARD -j NATFLEET-FWD" first_rules FORWARD
    of_firewalld | diff "$work/firewalld" - || failed "firewalld's rules have changed"
    reload_firewalld
    expect "a reboot changes nothing" "ok *natfleet's own (firewalld is in charge)" lasting
}

# reload_firewalld: it flushes in steps, so that an agent which has put rules back lately would wait on purpose.
reload_firewalld() {
    local begin
    in_machine nat-b systemctl restart natfleet-agent
    expect "the agent has looked" "none" shown
    theirs >"$work/theirs"
    begin=$SECONDS
    in_machine nat-b firewall-cmd --reload >"$work/said"
    until [ "$(first_rules FORWARD)" = "-A FORWARD -j NATFLEET-FWD -A FORWARD -j NATFLEET-FWD" ]; do
        ((SECONDS - begin < 10)) || failed "firewalld was reloaded, and natfleet's rules are not back in 10 s"
        sleep 0.1
    done
    printf 'ok  %s\n' "reloaded: rules are back within $((SECONDS - begin + 1)) s"
    theirs | diff "$work/theirs" - || failed "firewalld was reloaded, and others' rules have changed"
    of_firewalld | diff "$work/firewalld" - || failed "firewalld's rules have changed"
    served "firewalld, reloaded"
}

# As the RHEL family before 8 has it: its REJECT stands in iptables' own FORWARD, after natfleet's ACCEPT.
beside_firewalld_of_iptables() {
    say "firewalld in charge, making its rules with iptables"
    in_machine nat-b sed -i 's/^FirewallBackend=.*/FirewallBackend=iptables/' /etc/firewalld/firewalld.conf
    in_machine nat-b systemctl restart firewalld
    expect "it rejects what nobody accepted" "-A FORWARD -j REJECT *" last_rule FORWARD
    of_firewalld >"$work/firewalld"
    [ ! -s "$work/firewalld" ] || failed "firewalld has a table of its own still"
    expect "natfleet's jumps are first" "-A FORWARD -j NATFLEET-FWD -A FORWARD -j NATFLEET-FWD" first_rules FORWARD
    served "firewalld, iptables"
    reload_firewalld
    in_machine nat-b sed -i 's/^FirewallBackend=.*/FirewallBackend=nftables/' /etc/firewalld/firewalld.conf
}

# ufw_after_firewalld BACKEND: as an administrator would change to it, and to that back end; ufw takes what iptables is when it
# starts.
ufw_after_firewalld() {
    say "ufw in charge again, on the other back end of iptables: $1"
    in_machine nat-b systemctl --quiet disable --now firewalld
    in_machine nat-b systemctl stop natfleet-agent
    use_back_end nat-b "$1"
    by_hand /byhand/d
    in_machine nat-b sh -ec 'ufw --force enable; systemctl enable --now ufw; systemctl start natfleet-agent' >"$work/said" 2>&1 ||
        { cat "$work/said"; failed "ufw enable"; }
    expect "ufw is seen" "by natfleet's own (ufw is in charge)" kept_by
    served "ufw, $1"
    expect "by rules of that back end alone" "$1" back_ends nat-b
    expect "nothing is wrong" "none" shown
    unharmed ufw reload
    by_hand '/^COMMIT/i -I FORWARD -m comment --comment byhand -j DROP'
}

other_firewalls() {
    beside_ufw
    reboot_beside_ufw nft
    beside_firewalld
    beside_firewalld_of_iptables
    ufw_after_firewalld legacy
    reboot_beside_ufw legacy
}
