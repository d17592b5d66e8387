# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: natfleet contributors
# shellcheck shell=bash
# shellcheck disable=SC2154,SC2016 # here, bin, work: of whoever sources this; inner shells expand
#
# What many port forwards cost the kernel, without an agent: rules as `natfleet render` prints them, in namespaces of their own.

# rules N [PORT]: the IPv4 rules of N port forwards of 10.0.0.11, each to a port of its own; the one in the middle to PORT.
rules() {
    cat >"$work/facts.yaml" <<'END'
interfaces: [{name: eth0, addresses: [{address: 10.0.0.11, prefixLength: 24}]}]
routes: [{destination: 0.0.0.0/0, interface: eth0, gateway: 10.0.0.1}]
END
    awk -v n="$1" -v other="${2-}" 'BEGIN {
        print "apiVersion: natfleet/v1\nkind: NATPolicy\nmetadata: {name: bench}\nspec:\n  selector: {matchLabels: {vpc: demo}}"
        print "  forwarding: {ipv4: true}\n  masquerade: [{name: egress, families: [ipv4], sources: [10.0.0.0/16]}]\n  dnat:"
        for (i = 1; i <= n; i++)
            printf "    - {name: m%d, protocol: tcp, port: %d, to: \"10.0.1.80:%d\"}\n", i, 10000 + i,
                other && i == int((n + 1) / 2) ? other : 20000 + i }' >"$work/rendered.yaml"
    "$bin/natfleet" render -f "$work/rendered.yaml" --facts "$work/facts.yaml" --family ipv4 | grep -v '^#'
}

# flat: the same rules in one chain for each table, as they are without a tree.
flat() {
    sed -E -e '/ -g NATFLEET-/d' -e '/^:NATFLEET-(PRE|FWD)-[a-z]+[0-9a-f]+-/d' -e 's/^(-A NATFLEET-(PRE|FWD)-[a-z]+[0-9a-f]+)-[0-9]+ /\1 /'
}

# changed OLD NEW: what iptables-restore has to be told to make NEW of OLD: the chains that differ, whole.
changed() {
    awk '
        /^\*/ { table = $1; if (NR != FNR) tables[++count] = table; next }
        /^-A NATFLEET/ { text = $0 "\n" }
        /^:NATFLEET/ { text = "" }
        /^(:|-A )NATFLEET/ {
            chain = $1 == "-A" ? $2 : substr($1, 2)
            if (NR == FNR) old[table, chain] = old[table, chain] text
            else { new[table, chain] = new[table, chain] text; if ($1 != "-A") chains[table] = chains[table] " " chain }
        }
        END {
            for (i = 1; i <= count; i++) {
                head = body = ""
                n = split(chains[tables[i]], list, " ")
                for (j = 1; j <= n; j++)
                    if (old[tables[i], list[j]] != new[tables[i], list[j]]) {
                        head = head ":" list[j] " - [0:0]\n"
                        body = body new[tables[i], list[j]]
                    }
                if (head) printf "%s\n%s%sCOMMIT\n", tables[i], head, body
            }
        }' "$1" "$2"
}

# restore_times BACKEND LOADED PART…: the median seconds of iptables-restore of each part where the rules of LOADED are.
restore_times() {
    unshare --net --mount bash -ec '
        mount -t tmpfs tmpfs /run
        restore="iptables-$1-restore --noflush -w 10"
        $restore <"$2"
        for round in 1 2 3 4 5 6 7; do
            for part in "${@:3}"; do
                start=$EPOCHREALTIME
                $restore <"$part"
                echo "$part $start $EPOCHREALTIME"
            done
        done' restore "$@" >"$work/restores"
    local part
    for part in "${@:3}"; do
        awk -v part="$part" '$1 == part { print $3 - $2 }' "$work/restores" | median
    done
}

bench_leaf() {
    local backend leaf full
    rules 10000 >"$work/rules"
    rules 10000 9 >"$work/rules.new"
    # The jumps of the built-in chains are there already.
    grep -v '^-A [^N]' "$work/rules" >"$work/full"
    changed "$work/rules" "$work/rules.new" >"$work/leaf"
    heading "one of 10000 changed, the write to the kernel alone ($(grep -c '^:' "$work/leaf") chains): iptables-restore" "leaf s" "all s"
    for backend in nft legacy; do
        { read -r leaf; read -r full; } < <(restore_times "$backend" "$work/rules" "$work/leaf" "$work/full")
        row "iptables-$backend" %.4f "$leaf" "$full" "$([ "$backend" = legacy ] || echo "<=0.10")"
    done
}

bench_connect() {
    local times names=() targets=() n=2 backend kind i
    rules 1 >"$work/single"
    [ -s "$work/rules" ] || rules 10000 >"$work/rules"
    cp "$work/rules" "$work/tree"
    flat <"$work/rules" >"$work/flat"
    for backend in nft legacy; do
        for kind in single flat tree; do
            # One machine a ruleset, all between the same client and the same server.
            sed "s/10\.0\.0\.11/10.0.$n.11/g" "$work/$kind" >"$work/machine.$n"
            echo "$n $backend"
            targets+=("10.0.$n.11:10001")
            names+=("iptables-$backend, $kind, first port")
            if [ "$kind" != single ]; then
                targets+=("10.0.$n.11:20000")
                names+=("iptables-$backend, $kind, last port")
            fi
            n=$((n + 1))
        done
    done >"$work/machines"
    mapfile -t times < <(unshare --net --mount bash "$here/connect.sh" "$work" "${targets[@]}")
    [ "${#times[@]}" -eq "${#targets[@]}" ]
    heading "a new TCP connection to one of 10000 ports beside a single one" "us" "single us"
    for i in "${!times[@]}"; do
        case ${names[i]} in
            *single*) single=${times[i]} ;;
            *tree*last*) row "${names[i]}" %.1f "${times[i]}" "$single" "<=1.15" ;;
            *) row "${names[i]}" %.1f "${times[i]}" "$single" ;;
        esac
    done
}
