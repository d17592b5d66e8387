# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: natfleet contributors
# shellcheck shell=bash
# shellcheck disable=SC2154 # packages, work, hash: of `run`
#
# A machine that the distribution's cloud-init configures, by the user-data of docs/recipes/cloud-init.md. Sourced by `run`.

others+=(cloud-init)

# recipe N: the N-th user-data of that page.
recipe() {
    awk -v block="$1" '/^```/ { inside = /^```yaml/; seen += inside; next } inside && seen == block' docs/recipes/cloud-init.md
}

# valid WHAT: the user-data that it reads, says nat-b's cloud-init.
valid() {
    cat >"$machines/nat-b/root/user-data"
    in_machine nat-b cloud-init schema --config-file user-data >"$work/said" 2>&1 || { cat "$work/said"; failed "$1"; }
    printf 'ok  %-52s %s\n' "$1" "$(cat "$work/said")"
}

# configured_by_cloud_init INSTANCE: nat-b, where cloud-init is and the package is not installed yet.
configured_by_cloud_init() {
    local deb token sum
    # A policy of its own, like the README's.
    in_machine controller sh -ec 'sed "s/web-egress/other-egress/; s/vpc: prod/vpc: other/" web-egress.yaml >other-egress.yaml
        natfleet apply -f other-egress.yaml' >"$work/said" 2>&1 || { cat "$work/said"; failed "natfleet apply"; }
    natfleet token create --instance "$1" --vpc-cidr 10.0.0.0/16 --vpc-cidr 2001:db8:0:100::/56 -o user-data 2>/dev/null |
        valid "what token create prints is user-data"

    # What a person would fill in; the packages are here already, and there is no mirror.
    deb=$(cd "$packages" && echo natfleet-agent_*.deb)
    sum=$(sha256sum <"$packages/$deb")
    token=$(natfleet token create --instance "$1" --label vpc=other 2>/dev/null)
    recipe 2 | sed -e '/^package/d' -e "s/\(CA_HASH=\).*/\1$hash/" -e "s/\(JOIN_TOKEN=\).*/\1$token/" \
        -e "s/natfleet-agent_[0-9.]*_amd64.deb/$deb/g" -e "s/echo \"[0-9a-f]* /echo \"${sum%% *} /" >"$work/user-data"
    valid "so is what installs the package" <"$work/user-data"
    # curl fetches from where the packages are kept.
    cp "$packages/$deb" "$machines/nat-b/root"
    # shellcheck disable=SC2016 # for the inner shell
    printf '#!/bin/sh\nfor url; do :; done\ncp "/root/${url##*/}" .\n' >"$machines/nat-b/usr/local/bin/curl"
    chmod +x "$machines/nat-b/usr/local/bin/curl"
    # As at the first boot, up to what the file is about.
    mkdir -p "$machines/nat-b/var/lib/cloud/seed/nocloud"
    cp "$work/user-data" "$machines/nat-b/var/lib/cloud/seed/nocloud/user-data"
    printf 'instance-id: %s\ndsmode: local\n' "$1" >"$machines/nat-b/var/lib/cloud/seed/nocloud/meta-data"
    cat >"$machines/nat-b/etc/cloud/cloud.cfg.d/99_test.cfg" <<'END'
datasource_list: [NoCloud]
network: {config: disabled}
cloud_init_modules: [write-files]
cloud_config_modules: [runcmd]
cloud_final_modules: [scripts-user]
END
    in_machine nat-b sh -ec 'cloud-init init --local; cloud-init modules --mode=config; cloud-init modules --mode=final' \
        >"$work/said" 2>&1 || { tail -n 20 "$work/said"; failed "cloud-init"; }
    touch "$machines/nat-b/etc/cloud/cloud-init.disabled"
    expect "agent.conf is the one that cloud-init wrote" "600 root" in_machine nat-b stat -c '%a %U' /etc/natfleet/agent.conf
    expect "the agent runs" "active" in_machine nat-b systemctl is-active natfleet-agent
    expect "and starts with the machine" "enabled" in_machine nat-b systemctl is-enabled natfleet-agent natfleet-forwarding
}
