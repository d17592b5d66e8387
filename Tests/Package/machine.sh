# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: natfleet contributors
# shellcheck shell=bash
# shellcheck disable=SC2154 # work, machines, name, lab: of whoever sources this
#
# Debian machines with a systemd of their own (systemd-nspawn) in the network of a lab's host. Their folder, $machines, has
# of each its root, NAME, and while it runs its first process, NAME.pid, and that of systemd-nspawn, NAME.launcher.

cache=${NATFLEET_CACHE:-/var/cache/natfleet}
# Of this machine's own release: packages need the libraries that they were built with.
# shellcheck source=/dev/null
suite=$(. /etc/os-release && printf %s "$VERSION_CODENAME")
# Ubuntu has some of the packages elsewhere.
# shellcheck source=/dev/null
components=$(. /etc/os-release && [ "$ID" != ubuntu ] || printf ,universe)
base=$cache/$suite-$(dpkg --print-architecture)

# find_mirror: where this machine's own apt gets its release from, and through which proxy.
find_mirror() {
    # shellcheck disable=SC2016 # apt's own variables
    mirror=${NATFLEET_MIRROR:-$(apt-get indextargets --format '$(RELEASE) $(CODENAME) $(COMPONENT) $(REPO_URI)' 'Created-By: Packages' |
        awk -v suite="$suite" '($1 == suite || $2 == suite) && $3 == "main" { print $4; exit }')}
    if [[ $mirror != http*://* ]]; then
        echo "apt's sources name no http mirror of $suite's main: set NATFLEET_MIRROR" >&2
        return 1
    fi
    eval "$(apt-config shell http_proxy Acquire::http::Proxy https_proxy Acquire::https::Proxy)"
    export http_proxy https_proxy
}

# base_machine: the clean machine, made where it is not there yet.
base_machine() {
    mkdir -p "$cache/archives/partial"
    # One run at a time: they share what is kept.
    exec {cache_lock}>"$cache/lock"
    flock "$cache_lock"
    find_mirror
    [ ! -d "$base" ] || return 0
    rm -rf "$base.new"
    debootstrap --variant=minbase --components="main$components" --include=systemd,systemd-sysv,dbus,ca-certificates "$suite" "$base.new" "$mirror" \
        >"$work/debootstrap.log" 2>&1 || { tail -n 5 "$work/debootstrap.log"; return 1; }
    mv "$base.new" "$base"
}

# The distribution's own that are tried out, beside what the packages need; each string names some that go together.
others=(iptables-persistent)

# download PACKAGE…: what they need of the distribution; the machines themselves have no way to a mirror.
download() {
    (
        mount_root download
        mount --bind "$cache/archives" "$machines/download/var/cache/apt/archives"
        mount -t proc proc "$machines/download/proc"
        cp "$@" "$machines/download/tmp"
        cp /etc/resolv.conf "$machines/download/etc/resolv.conf"
        # A user of apt's own could not write to the bound folder.
        chroot "$machines/download" sh -ec '
            apt-get -qq -o Acquire::Languages=none update
            for others; do
                apt-get -qq --yes -o APT::Sandbox::User=root --no-install-recommends --download-only install /tmp/*.deb $others
            done
            # For its promtool alone.
            mkdir -p /var/cache/apt/archives/tools
            cd /var/cache/apt/archives/tools
            apt-get -qq -o APT::Sandbox::User=root download prometheus' sh "${others[@]}"
        # What each machine installs from, without a way to a mirror.
        mkdir "$machines/apt"
        cd "$machines/download"
        cp -a --parents -t "$machines/apt" var/lib/apt/lists var/cache/apt/srcpkgcache.bin
    )
    umount -R "$machines/download"
    # What is kept is only read from here on.
    flock -u "$cache_lock"
}

# mount_root MACHINE: its root, a layer over the clean one that keeps what the machine writes.
mount_root() {
    mkdir -p "$machines/$1" "$machines/$1.upper" "$machines/$1.work"
    mountpoint -q "$machines/$1" ||
        mount -t overlay -o "lowerdir=$base,upperdir=$machines/$1.upper,workdir=$machines/$1.work" overlay "$machines/$1"
}

# cgroups MACHINE: its control group, below this shell's, in each tree that systemd may keep its units in: version 2, and on older
# machines a nameless controller of version 1 as well.
cgroups() {
    local tree own
    while read -r tree own; do
        tree=$(findmnt --noheadings --first-only --output TARGET "$tree") || continue
        printf '%s/natfleet-%s-%s\n' "$tree$(sed -n "s/^$own://p" /proc/self/cgroup)" "$name" "$1"
    done <<<$'--types=cgroup2 0:\n--options=name=systemd [0-9]*:name=systemd'
}

# enter_cgroup MACHINE: this shell and what it becomes. Otherwise all machines would be in one: a unit of one that ends then takes
# the group from under the same unit that starts in another (219/CGROUP).
enter_cgroup() {
    local cgroup
    for cgroup in $(cgroups "$1"); do
        mkdir -p "$cgroup"
        echo $BASHPID >"$cgroup/cgroup.procs"
    done
}

# boot MACHINE: as the host of that name in the lab; returns when systemd has come up.
boot() {
    local deadline=$((SECONDS + 60)) runtime launcher options=()
    mount_root "$1"
    printf '%s\n' "$1" >"$machines/$1/etc/hostname"
    [ -e "$machines/$1/var/cache/apt/srcpkgcache.bin" ] || cp -a "$machines/apt/." "$machines/$1"
    # The name that the README gives the controller.
    "$lab" exec "$name" "$1" -- sed 's/\bcontroller\b/& controller.example.internal/' /etc/hosts >"$machines/$1/etc/hosts"
    # The README's commands are a person's, who answers apt and has sudo.
    # Archives are shared, and all there: nobody has to wait for their lock.
    printf '%s;\n' 'APT::Get::Assume-Yes "true"' 'APT::Install-Recommends "false"' 'Acquire::Languages "none"' 'Debug::NoLocking "true"' \
        >"$machines/$1/etc/apt/apt.conf.d/90test"
    printf '#!/bin/sh\nexec "$@"\n' >"$machines/$1/usr/local/bin/sudo"
    chmod +x "$machines/$1/usr/local/bin/sudo"
    # A debug build takes the toolchain's libraries.
    for runtime in $(ldd .build/debug/natfleet-agent 2>/dev/null | sed -n 's|.* => \(.*\)/libswiftCore\.so .*|\1|p'); do
        options+=("--bind-ro=$runtime")
    done
    (
        enter_cgroup "$1"
        # As with --private-network, which would give it a network of its own.
        export SYSTEMD_NSPAWN_API_VFS_WRITABLE=network
        exec systemd-nspawn --quiet --directory="$machines/$1" --machine="$1" --boot --register=no --keep-unit \
            --network-namespace-path="/proc/$("$lab" pid "$name" "$1")/ns/net" --resolv-conf=off --capability=CAP_NET_ADMIN \
            --bind="$cache/archives:/var/cache/apt/archives" "${options[@]}"
    ) </dev/null >"$machines/$1.log" 2>&1 &
    launcher=$!
    disown
    echo "$launcher" >"$machines/$1.launcher"
    until pgrep -P "$launcher" >"$machines/$1.pid" &&
        [[ $(in_machine "$1" systemctl is-system-running 2>/dev/null) == @(running|degraded) ]]; do
        if ((SECONDS >= deadline)); then
            tail -n 20 "$machines/$1.log"
            echo "$1 does not boot"
            return 1
        fi
        sleep 0.2
    done
    printf 'ok  %s has booted\n' "$1"
}

in_machine() {
    local machine=$1
    shift
    nsenter --all -t "$(<"$machines/$machine.pid")" -- env -i -C /root PATH=/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LC_ALL=C \
        DEBIAN_FRONTEND=noninteractive "$@"
}

# halt MACHINE: an orderly shutdown.
halt() {
    in_machine "$1" systemctl poweroff >/dev/null 2>&1 || true
    is_off "$1"
}

# cut_power MACHINE: no program of it gets to do anything any more.
cut_power() {
    kill -KILL "$(<"$machines/$1.pid")"
    is_off "$1"
}

# is_off MACHINE: returns when it is. Another shell may have booted it, so that there may be no child to wait for.
is_off() {
    tail --pid="$(<"$machines/$1.launcher")" -s 0.1 -f /dev/null
    rm "$machines/$1.pid" "$machines/$1.launcher"
}

# settings MACHINE: what natfleet may change of its network's settings, as KEY = VALUE.
settings() {
    "$lab" exec "$name" "$1" -- sysctl -a -r \
        '^net\.ipv4\.ip_forward$|^net\.ipv[46]\.conf\.(all|eth0)\.(forwarding|accept_ra|(accept|send)_redirects|rp_filter)$'
}

# end_network MACHINE FILE: as it was when `settings` wrote FILE, and no rules: the network belongs to the lab and outlives the
# machine, unlike a real one's.
end_network() {
    no_rules "$1"
    # shellcheck disable=SC2016 # for the inner shell
    "$lab" exec "$name" "$1" -- bash -ec '
        # Writing the first one resets others.
        echo 0 >/proc/sys/net/ipv4/ip_forward
        sysctl -q -p -
        conntrack -F 2>/dev/null' <"$2"
}

# no_rules MACHINE: of either back end. Tables of iptables-legacy stay, empty, as long as the network.
no_rules() {
    # shellcheck disable=SC2016 # for the inner shell
    "$lab" exec "$name" "$1" -- bash -ec '
        nft flush ruleset
        for program in iptables ip6tables; do
            # Those that there are: a table comes into being when it is asked for.
            for table in $(cat "/proc/net/${program/tables/_tables}_names" 2>/dev/null); do
                "$program-legacy" -t "$table" -F
                "$program-legacy" -t "$table" -X
                [ "$table" != filter ] || for chain in INPUT FORWARD OUTPUT; do "$program-legacy" -P "$chain" ACCEPT; done
            done
        done'
}

# use_back_end MACHINE nft|legacy: its iptables and ip6tables are that from now on, as an administrator makes them, and there
# are no rules.
use_back_end() {
    local program
    for program in iptables ip6tables; do
        in_machine "$1" update-alternatives --quiet --set "$program" "/usr/sbin/$program-$2"
    done
    no_rules "$1"
}

# back_ends MACHINE: those that hold rules of natfleet's.
back_ends() {
    local back_end
    for back_end in nft legacy; do
        [[ $(in_machine "$1" sh -c "iptables-$back_end-save; ip6tables-$back_end-save" 2>/dev/null) != *NATFLEET* ]] || echo "$back_end"
    done | xargs
}

end_all() {
    local machine launcher cgroup
    # shellcheck disable=SC2046 # any number
    kill $(jobs -p) 2>/dev/null || true
    for machine in "$machines"/*.launcher; do
        [ -e "$machine" ] || continue
        launcher=$(<"$machine")
        # The machine's first process first: it would outlive its launcher.
        # shellcheck disable=SC2046 # none or one
        kill -KILL $(pgrep -P "$launcher") "$launcher" 2>/dev/null || true
        tail --pid="$launcher" -s 0.1 -f /dev/null
    done
    "$lab" down "$name" >/dev/null 2>&1 || true
    for machine in download controller nat-a nat-b; do
        umount -R "$machines/$machine" 2>/dev/null || true
        for cgroup in $(cgroups "$machine"); do
            [ ! -d "$cgroup" ] || find "$cgroup" -depth -type d -exec rmdir {} + 2>/dev/null || true
        done
    done
}
