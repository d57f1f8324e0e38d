#!/usr/bin/env bash
# What outflow does when more clients come than it can serve: `outflow-load overload` against a server that has a share of
# one CPU (a cgroup's quota), so that one machine can bring ten times what it can serve.
#
# usage: loadtest/overload.sh [--share PERCENT] [--period-ms MS] [--patience SECONDS] [--rounds N] [--server-cmd 'CMD with {port}']
#                             [-- more words for outflow-load overload]
#
#   loadtest/overload.sh                                  # 2 and 10 times the peak, clients that wait 2 s: about a minute
#   loadtest/overload.sh --patience 5 --share 3           # clients that wait longer need more descriptors
#   loadtest/overload.sh --server-cmd 'microsocks -i 127.0.0.1 -p {port}'
#
# Needs the rights to make a cgroup with the cpu controller (root). RELAY=PATH and LOAD=PATH name binaries that are built
# already. It ends what it has started, by pid.
set -euo pipefail

share=10 period_ms=100 patience=2 rounds=1 server_cmd='' more=()
while [ $# -gt 0 ]; do
    case $1 in
        --share) share=$2; shift 2 ;;
        --period-ms) period_ms=$2; shift 2 ;;
        --patience) patience=$2; shift 2 ;;
        --rounds) rounds=$2; shift 2 ;;
        --server-cmd) server_cmd=$2; shift 2 ;;
        --) shift; more=("$@"); break ;;
        *) sed -n '2,13s/^# \{0,1\}//p' "$0"; exit 2 ;;
    esac
done

# shellcheck source=loadtest/programs.sh
source "$(dirname "$0")/programs.sh"

group=''
clean_up_more() { if [ -n "$group" ]; then rmdir "$group" || true; fi; }

# make_group: a cgroup whose processes have the share of one CPU, in version 1 or 2.
make_group() {
    local period=$((period_ms * 1000)) quota
    quota=$((period * share / 100))
    if [ -f /sys/fs/cgroup/cpu/cpu.cfs_quota_us ]; then
        group=/sys/fs/cgroup/cpu/outflow-overload.$$
        mkdir "$group" || die "no cgroup can be made here"
        echo "$period" >"$group/cpu.cfs_period_us"
        echo "$quota" >"$group/cpu.cfs_quota_us"
    else
        group=/sys/fs/cgroup/outflow-overload.$$
        mkdir "$group" || die "no cgroup can be made here"
        [ -f "$group/cpu.max" ] || { rmdir "$group"; group=''; die "the cpu controller is not enabled in /sys/fs/cgroup"; }
        echo "$quota $period" >"$group/cpu.max"
    fi
}

# It answers at once, and not when those who come leave it that CPU: what flows wait for is the server.
first=(chrt -f 1)
"${first[@]}" true 2>"$work/chrt" || { first=(); echo "overload.sh: the origin cannot go first: flows may wait for it" >&2; }
taskset -c 1 "${first[@]}" "$LOAD" origin >"$work/origin" &
started+=($!)
await "$work/origin" 'origin ready'
page=$(grep -oE 'page=[0-9.:]+' "$work/origin" | cut -d= -f2)
echo_port=$(grep -oE 'echo=[0-9.:]+' "$work/origin" | cut -d= -f2)

make_group
if [ -n "$server_cmd" ]; then
    port=$((20000 + RANDOM % 10000))
    address=127.0.0.1:$port
    command="exec ${server_cmd//\{port\}/$port}"
else
    command="exec $RELAY --listen 127.0.0.1:0 --allow-private --workers 1 --no-pin"
fi
# It enters the group before it is what it becomes, and keeps to CPU 0.
taskset -c 0 bash -c "echo \$\$ >$group/cgroup.procs; $command" >"$work/server" 2>"$work/server.err" &
server_pid=$!
started+=("$server_pid")
if [ -n "$server_cmd" ]; then
    sleep 2
else
    await "$work/server" 'ready: listening on'
    address=$(grep -oE 'listening on [0-9.:]+' "$work/server" | cut -d' ' -f3)
fi

for ((round = 0; round < rounds; round++)); do
    "$LOAD" overload --cpu 1 --server "$address" --target "$page" --echo "$echo_port" --pid "$server_pid" \
        --patience "$patience" --sources 250 "${more[@]}"
done
