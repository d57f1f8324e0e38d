#!/usr/bin/env bash
# The five figures of the CONNECT relay, each beside its bar:
#
#   1. system calls per session (strace over 1,000 sessions, epoll_wait apart)
#   2. memory and descriptors of an idle session (8,000 of them)
#   3. CPU seconds per GB with splice against copy (16 flows, rounds in turn)
#   4. CPU per 128-byte round trip with auto against copy (64 connections, rounds in turn)
#   5. the user share of the server's CPU in each of these
#
# usage: loadtest/measure.sh [--only N] [--server-cmd 'CMD with {port}'] [--rounds N] [--seconds S]
#
#   loadtest/measure.sh                       # everything, about three minutes
#   loadtest/measure.sh --only 3              # one figure (5 comes with whatever else runs)
#   loadtest/measure.sh --server-cmd 'microsocks -i 127.0.0.1 -p {port}'    # a peer, no bars
#
# The server runs on CPU 0; clients and origin share CPU 1. RELAY=PATH and LOAD=PATH name binaries that are
# built already. Exit code 1 when a bar is missed or a run fails. It ends what it has started, by pid.
set -euo pipefail

only=0 server_cmd='' rounds=3 seconds=4
while [ $# -gt 0 ]; do
    case $1 in
        --only) only=$2; shift 2 ;;
        --server-cmd) server_cmd=$2; shift 2 ;;
        --rounds) rounds=$2; shift 2 ;;
        --seconds) seconds=$2; shift 2 ;;
        *) sed -n '2,18s/^# \{0,1\}//p' "$0"; exit 2 ;;
    esac
done

# shellcheck source=loadtest/programs.sh
source "$(dirname "$0")/programs.sh"

# field NAME < RECORD: a number out of one line of JSON; names are unique in a record.
field() { grep -oE "\"$1\":-?[0-9.eE+-]+" | head -n1 | cut -d: -f2; }
median() { sort -g | awk '{ v[NR] = $1 } END { print NR % 2 ? v[(NR + 1) / 2] : (v[NR / 2] + v[NR / 2 + 1]) / 2 }'; }
calc() { awk "BEGIN { printf \"%.4g\", $1 }"; }

# start_origin SUPPLY: sets origin_echo and so on to its addresses.
start_origin() {
    local out="$work/origin.$1" name
    "$LOAD" origin --cpu 1 --supply "$1" >"$out" &
    started+=($!)
    await "$out" 'origin ready'
    for name in echo sink source page; do
        declare -g "origin_$name=$(grep -oE "$name=[0-9.:]+" "$out" | cut -d= -f2)"
    done
}

# start_server NAME [RELAY MODE]: sets server_pid and server_address.
start_server() {
    local out="$work/server.$1"
    if [ -n "$server_cmd" ]; then
        local port=$((20000 + RANDOM % 10000))
        taskset -c 0 bash -c "exec ${server_cmd//\{port\}/$port}" >"$out" 2>&1 &
        server_pid=$!
        server_address=127.0.0.1:$port
        started+=("$server_pid")
        sleep 1
    else
        taskset -c 0 "$RELAY" run --listen 127.0.0.1:0 --workers 1 --allow-private --relay "${2:-auto}" \
            >"$out" 2>"$out.log" &
        server_pid=$!
        started+=("$server_pid")
        await "$out" 'ready: listening on'
        server_address=$(grep -oE 'listening on [0-9.]+:[0-9]+' "$out" | head -n1 | cut -d' ' -f3)
    fi
    kill -0 "$server_pid" 2>/dev/null || { cat "$out" >&2; die "the server did not start"; }
}

stop_server() {
    kill "$1" 2>/dev/null || true
    wait "$1" 2>/dev/null || true
}

# load ADDRESS PID SCENARIO...: one record on standard output, bounded in time.
load() {
    local address=$1 pid=$2
    shift 2
    timeout 120 "$LOAD" "$@" --server "$address" --pid "$pid" --cpu 1 || die "outflow-load $* failed"
}

missed=0
table=()
# row WHAT BAR MEASURED OP: OP compares measured with bar (a bar of "-" is none).
row() {
    local verdict=-
    if [ "$2" != - ] && [ -z "$server_cmd" ]; then
        verdict=met
        if ! awk "BEGIN { exit !($3 $4 $2) }"; then verdict=MISSED missed=1; fi
        table+=("$(printf '%-60s %8s %12s  %s' "$1" "$4 $2" "$3" "$verdict")")
    else
        table+=("$(printf '%-60s %8s %12s  %s' "$1" - "$3" "$verdict")")
    fi
}

user_share() { row "5. user share of CPU: $1" 0.15 "$(calc "$2")" '<'; }

# by_name NAME < RECORD: the lines `CALL COUNT` of a map in one line of JSON.
by_name() { grep -oE "\"$1\":\{[^}]*\}" | sed 's/^[^{]*{//; s/}//' | tr ',' '\n' | tr -d '"' | tr ':' ' '; }

count_calls() { # IN_FLIGHT
    local record
    record=$(load "$server_address" "$server_pid" connect --target "$origin_page" --count 1000 \
        --in-flight "$1" --strace)
    row "1. system calls per session, $1 in flight" 22 "$(calc "$(field calls_per_session <<<"$record")")" '<='
    echo "-- calls by name, $1 in flight, waits per session $(field waits_per_session <<<"$record"):"
    join -a 1 <(by_name calls <<<"$record") <(by_name failed_calls <<<"$record") |
        awk '{ printf "   %-18s %7.3f%s\n", $1, $2, (NF > 2) ? "  (failed " $3 ")" : "" }'
}

figure_1() {
    start_server calls
    load "$server_address" "$server_pid" connect --target "$origin_page" --count 200 >/dev/null
    count_calls 1
    count_calls 8
    local record
    record=$(load "$server_address" "$server_pid" connect --target "$origin_page" --seconds "$seconds")
    row "   CPU us per session, 64 in flight" - "$(calc "$(field cpu_us_per_session <<<"$record")")" '<'
    user_share "sessions" "$(field server_user_share <<<"$record")"
    stop_server "$server_pid"
}

figure_2() {
    local touch record
    for touch in 0 1024; do
        start_server "idle$touch"
        # What a server loads or builds at its first sessions is no cost of the 8,000.
        load "$server_address" "$server_pid" connect --target "$origin_page" --count 200 --in-flight 8 >/dev/null
        sleep 1
        record=$(load "$server_address" "$server_pid" idle --target "$origin_echo" --connections 8000 \
            --touch $touch --seconds 0.1)
        local what="idle session after $touch bytes"
        row "2. PSS bytes, $what" 600 "$(calc "$(field pss_bytes_per_session <<<"$record")")" '<='
        row "2. descriptors, $what" 2 "$(calc "$(field fds_per_session <<<"$record")")" '=='
        user_share "opening, $what" "$(field server_user_share <<<"$record")"
        stop_server "$server_pid"
    done
}

# rounds_of NAME FIELD "ENGINE ENGINE" SCENARIO...: A B A B ..., into $work/NAME.ENGINE[.user]
rounds_of() {
    local name=$1 figure=$2 engines=$3 engine round record
    shift 3
    local -A pids addresses
    for engine in $engines; do
        start_server "$name.$engine" "${engine/control/copy}"
        pids[$engine]=$server_pid addresses[$engine]=$server_address
    done
    for round in $(seq "$rounds"); do
        for engine in $engines; do
            record=$(load "${addresses[$engine]}" "${pids[$engine]}" "$@")
            field "$figure" <<<"$record" >>"$work/$name.$engine"
            field server_user_share <<<"$record" >>"$work/$name.$engine.user"
            echo "-- $name, round $round, $engine: $figure $(field "$figure" <<<"$record")," \
                "user share $(field server_user_share <<<"$record")," \
                "bytes/s $(field bytes_per_second <<<"$record" || true)"
        done
    done
    for engine in $engines; do stop_server "${pids[$engine]}"; done
}

compared() { # NAME UNIT A B BAR: rows for both and for the ratio A / B
    local a b
    a=$(median <"$work/$1.$3")
    row "   $1: $2, $3" - "$(calc "$a")" '<'
    if [ -n "$server_cmd" ]; then
        user_share "$1" "$(median <"$work/$1.$3.user")"
        return
    fi
    b=$(median <"$work/$1.$4")
    row "   $1: $2, $4" - "$(calc "$b")" '<'
    row "$6. $1: $3 / $4" "$5" "$(calc "$a / $b")" '<='
    user_share "$1, $3" "$(median <"$work/$1.$3.user")"
    user_share "$1, $4" "$(median <"$work/$1.$4.user")"
}

# What splice saves depends on how the bytes arrive: sendfile gives pages of 4 KiB, near to what a network
# card gives; send from a large buffer gives whatever the kernel allocates, up to 32 KiB a fragment. Copying
# hardly notices. So both are shown.
figure_3() {
    local engines='splice copy' supply
    [ -z "$server_cmd" ] || engines=splice
    for supply in buffer sendfile; do
        start_origin "$supply"
        rounds_of "bulk from $supply" cpu_seconds_per_gb "$engines" stream down \
            --target "$origin_source" --flows 16 --seconds "$seconds"
        compared "bulk from $supply" 'CPU s per GB' splice copy 0.75 3
    done
}

figure_4() {
    # The bar stands at equality, where chance decides by a per cent or so: a third server, equal to the
    # second, shows how much chance there was. The verdict stays strict.
    local engines='auto copy control'
    [ -z "$server_cmd" ] || engines=auto
    rounds_of pingpong cpu_us_per_round_trip "$engines" echo --target "$origin_echo" --connections 64 \
        --size 128 --seconds "$seconds"
    compared pingpong 'CPU us per round trip' auto copy 1.0 4
    [ -n "$server_cmd" ] || row "   pingpong: copy / copy, two equal servers" - \
        "$(calc "$(median <"$work/pingpong.control") / $(median <"$work/pingpong.copy")")" '<'
}

start_origin sendfile
for figure in 1 2 3 4; do
    if [ "$only" = 0 ] || [ "$only" = 5 ] || [ "$only" = "$figure" ]; then "figure_$figure"; fi
done

printf '\n%-60s %8s %12s\n' figure bar measured
printf '%s\n' "${table[@]}"
exit $missed
