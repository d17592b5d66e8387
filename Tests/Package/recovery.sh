# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: natfleet contributors
# shellcheck shell=bash
# shellcheck disable=SC2154 # packages, work, lab, name: of `run`
#
# The controller lost and put back from a backup, then moved to another machine, by the commands of docs/operations.md as
# they stand there. The agent must not notice more than that nobody answered for a while. Sourced by `run`.

# operate SECTION STEP N [SED]: types them on the controller.
operate() { commands docs/operations.md "$1" "$2" "$3" | typed controller "${4-}" >"$work/operated"; }

# state: of nat-a, as the controller has it.
state() { natfleet get instances 2>/dev/null | awk '$1 == "i-0123456789abcdef0" { print $2, $3, $4 }'; }
identity() { in_machine nat-a sha256sum /var/lib/natfleet-agent/identity.json; }
# answers PORT: of nat-a, to somebody outside.
answers() { "$lab" ask "$name" outsider tcp 203.0.113.11 "$1" 1; }

restored_from_a_backup() {
    say "a backup, put back: operations.md"
    local before
    before=$(identity)
    operate Backup 0 1
    expect "the backup has the fleet's authority" "*PRIVATE KEY*" in_machine controller sh -c 'cat /srv/backup/*/pki/ca.pem'
    # What the backup does not know.
    in_machine controller sh -c 'mkdir -p policies
        { cat web-egress.yaml; echo "    - {name: Later, protocol: tcp, port: 8002, to: \"10.0.1.80:80\"}"; } >policies/web-egress.yaml
        natfleet apply -f policies/' >"$work/said" 2>&1
    expect "a port forward since the backup" "server-a saw 198.51.100.99 *" answers 8002

    operate Restore 1 1
    in_machine controller rm -r /var/lib/private/natfleet/pki
    if in_machine controller systemctl start natfleet 2>"$work/said"; then failed "starts without the fleet's authority"; fi
    in_machine controller systemctl stop natfleet
    operate Restore 2 1 "s/2030-01-31/$(in_machine controller ls /srv/backup | sed 's/^natfleet-//')/"
    operate Restore 3 1
    operate Restore 4 1
    expect "restored, with the files that are current" "healthy current web-egress@2" state
    expect "the folder is the unit's own again" "private/natfleet" in_machine controller readlink /var/lib/natfleet
    goes_on "$before" 3
}

# goes_on IDENTITY REVISION: the agent takes the port forward away again, which makes that revision, as whom it was.
goes_on() {
    natfleet apply -f web-egress.yaml >"$work/said" 2>&1
    expect "the agent hears of the next change" "healthy current web-egress@$2" state
    expect "and has made it" "" answers 8002
    [ "$(identity)" = "$1" ] || failed "the agent has enrolled anew"
    natfleet events --actor i-0123456789abcdef0 >"$work/said"
    expect "it has enrolled once and for all" "1" grep -c 'instance.enrolled' "$work/said"
}

# The old machine's part of a move; then it is gone.
leaves() {
    say "the controller moves to another machine: operations.md"
    operate "Moving the controller" 1 1
    # What ssh takes over there.
    printf '#!/bin/sh\ncat >/root/sent\nprintf "%%s\\n" "$2" >/root/asked\n' >"$machines/controller/usr/local/bin/ssh"
    chmod +x "$machines/controller/usr/local/bin/ssh"
    operate "Moving the controller" 2 1
    cp "$machines/controller/root/sent" "$machines/controller/root/asked" "$machines/controller/root/web-egress.yaml" "$work"
    halt controller
    umount -R "$machines/controller"
    rm -rf "$machines/controller" "$machines/controller.upper" "$machines/controller.work"
}

# The new machine's, at the same address.
arrives() {
    local before
    before=$(identity)
    boot controller
    cp "$packages"/natfleet_*.deb "$work/web-egress.yaml" "$machines/controller/root"
    follow controller 1 2 >"$work/apt"
    in_machine controller sh -ec "$(cat "$work/asked")" <"$work/sent"
    ! in_machine controller sh -ec "$(cat "$work/asked")" <"$work/sent" 2>"$work/said" || failed "the backup went into a folder that was there"
    follow controller 2 1
    in_machine controller sh -c 'umask 077; mkdir -p ~/.config/natfleet
        cat /var/lib/natfleet/admin.yaml >~/.config/natfleet/config.yaml'
    natfleet rollout undo web-egress >"$work/said" 2>&1
    expect "moved: the port forward is back" "server-a saw 198.51.100.99 *" answers 8002
    goes_on "$before" 5
}
