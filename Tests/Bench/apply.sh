# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: natfleet contributors
# shellcheck shell=bash
# shellcheck disable=SC2154,SC2016 # lab, name, state, work: of whoever sources this; inner shells expand
#
# The time from an answered poll to rules that are applied, read back and saved, beside the programs of iptables alone.

# fresh_apply N: a policy with N port forwards where nothing of natfleet's is, each time with another target and another name for
# what is translated, IPv4 and IPv6: the agent does not load a second time into a throwaway namespace what it knows. Keeps the
# rules that it saved.
fresh_apply() {
    local which=1${EPOCHREALTIME: -4}
    policy "$1" "$which" | sed "s/name: egress/&-$which/" >"$work/fresh.yaml"
    timed_apply "$work/fresh.yaml"
    on nat-a bash -c 'rm -rf /run/rules && mkdir /run/rules && cp "$0"/rules.v4 "$0"/rules.v6 /run/rules' "$state"
    remove_policy
}
# In a namespace of its own, with the files that the agent saved: what the tools alone need for the same work.
plain_tools() {
    on nat-a unshare --net bash -ec '
        start=$EPOCHREALTIME
        for family in "iptables v4" "ip6tables v6"; do
            read -r program version <<<"$family"
            unshare --net "$program-restore" -w 10 <"/run/rules/rules.$version"
            "$program-restore" --noflush -w 10 <"/run/rules/rules.$version"
            "$program-save" >/run/saved
        done
        echo "$start $EPOCHREALTIME"' | awk '{ print $2 - $1 }'
}
# What a trial cannot do without, as a floor for it: the same programs in the agent's order, both families at once, started by
# a shell, and a request to the controller over a new connection. Nothing is compiled, compared, probed or written to disk.
bare_trial() {
    on nat-a bash -ec '
        mkdir -p /run/parts
        for version in v4 v6; do
            for table in filter nat; do
                sed -n "/^\*$table\$/,/^COMMIT\$/p" "/run/rules/rules.$version" >"/run/parts/$table.$version"
            done
        done
        request=$(curl -sk -o /dev/null -w "%{time_total}" "$0/v1/ca")
        programs=$(unshare --net bash -ec "
            rehearse() { unshare --net sh -c \"\$1-restore -w 10 && exec \$1-save\" <\"\$2\" >/dev/null; }
            start=\$EPOCHREALTIME
            iptables-save -c >/dev/null & ip6tables-save -c >/dev/null &
            if ((\$(wc -l </run/rules/rules.v4) > 50)); then
                rehearse iptables /run/parts/filter.v4 & rehearse iptables /run/parts/nat.v4 &
            else
                rehearse iptables /run/rules/rules.v4 &
            fi
            rehearse ip6tables /run/rules/rules.v6
            wait
            ip6tables-restore --noflush --counters -w 10 </run/rules/rules.v6 &
            # Two runs: what is forwarded waits for the filter, so no run takes both tables.
            iptables-restore --noflush --counters -w 10 </run/parts/filter.v4
            iptables-restore --noflush --counters -w 10 </run/parts/nat.v4
            wait
            iptables-save -c >/dev/null & ip6tables-save -c >/dev/null
            wait
            echo \$start \$EPOCHREALTIME")
        echo "$programs $request"' "$controller_url" | awk '{ print $2 - $1 + $3 }'
}
plain_restore() {
    on nat-a unshare --net bash -ec '
        start=$EPOCHREALTIME
        iptables-restore --noflush -w 10 <"$0/rules.v4"
        echo "$start $EPOCHREALTIME"' "$state" | awk '{ print $2 - $1 }'
}

# One command a chain and a rule, as a person or a script would. Of more than 2,000 commands ten samples of 50 are run,
# each with the rules before it in place; the sum is estimated from them.
one_by_one() {
    on nat-a unshare --net bash -ec '
        estimate=0
        for family in "iptables v4" "ip6tables v6"; do
            read -r program version <<<"$family"
            awk -v program="$program" "
                /^\*/ { table = substr(\$1, 2) }
                /^:NATFLEET/ { print program, \"-t\", table, \"-N\", substr(\$1, 2) }
                /^(\[[0-9:]+\] )?-[AI] / { sub(/^\[[0-9:]+\] /, \"\"); print program, \"-t\", table, \$0 }
                " "/run/rules/rules.$version" >/run/commands
            total=$(wc -l </run/commands)
            step=$total size=$total
            ((total <= 2000)) || step=$((total / 10)) size=50
            for ((first = 1; first <= total; first += step)); do
                ((first == 1)) || awk -v last="$((first - 1))" "
                    NR == FNR && FNR > last { exit }
                    NR == FNR { table = \$3; \$1 = \$2 = \$3 = \"\"; sub(/^ +/, \"\")
                        text[table] = text[table] (sub(/^-N /, \":\") ? \$0 \" - [0:0]\" : \$0) \"\n\" }
                    END { for (table in text) printf \"*%s\n%sCOMMIT\n\", table, text[table] }" /run/commands >/run/before
                ((first == 1)) || "$program-restore" -w 10 </run/before
                sed -n "$first,$((first + size - 1))p" /run/commands >/run/sample
                start=$EPOCHREALTIME
                source /run/sample
                estimate=$(awk -v a="$start" -v b="$EPOCHREALTIME" -v n="$step" -v size="$size" -v sum="$estimate" \
                    "BEGIN { print sum + (b - a) * n / size }")
            done
        done
        echo "$estimate"'
}

# rounds N PAIR…: N lines of what each command of PAIR prints, by turns, in $work/rounds.
rounds() {
    local count=$1 round command value
    shift
    for ((round = 0; round < count; round++)); do
        for command; do
            value=$($command)
            printf '%s ' "$value"
        done
        echo
    done >"$work/rounds"
}

bench_apply() {
    local count ours tools port
    heading "apply: agent beside unshare+restore, restore, save, both families" "agent s" "tools s"
    for count in 1 100 10000; do
        rounds "$((count < 10000 ? 7 : 5))" "fresh_apply $count" plain_tools bare_trial
        ours=$(column "$work/rounds" 1 | median)
        tools=$(column "$work/rounds" 3 | median)
        row "$count port forwards" %.3f "$ours" "$tools" "<=1.3"
        row "  until they are read back" %.3f "$(column "$work/rounds" 2 | median)" "$tools" "<=1.3"
        row "  what it cannot do without" %.3f "$(column "$work/rounds" 4 | median)" "$tools"
        rounds "$((count < 10000 ? 3 : 1))" one_by_one
        row "  beside one iptables command a rule" %.3f "$ours" "$(column "$work/rounds" 1 | median)"
    done
    policy 10000 >"$work/changed.yaml"
    timed_apply "$work/changed.yaml" >/dev/null
    for port in 81 82 83 84 85; do
        policy 10000 "$port" >"$work/changed.yaml"
        printf '%s %s\n' "$(timed_apply "$work/changed.yaml")" "$(plain_restore)"
    done >"$work/rounds"
    row "one of 10000 changed, beside a full restore" %.3f "$(column "$work/rounds" 1 | median)" \
        "$(column "$work/rounds" 3 | median)" "<=0.1"
    remove_policy
}
