# The two programs, a folder to work in, and what was started, which ends by pid. To be sourced by the scripts beside it, which
# have set server_cmd: where that is not empty no relay of ours is needed.
# RELAY=PATH and LOAD=PATH name programs that are built already; without them a release is built.
# shellcheck shell=bash

cd "$(dirname "${BASH_SOURCE[0]}")/.."
LOAD=${LOAD:-} RELAY=${RELAY:-}
if [ -z "$LOAD" ] || { [ -z "$RELAY" ] && [ -z "${server_cmd:-}" ]; }; then
    cargo build --release --workspace --quiet
fi
LOAD=${LOAD:-${CARGO_TARGET_DIR:-target}/release/outflow-load}
RELAY=${RELAY:-${CARGO_TARGET_DIR:-target}/release/outflow}

work=$(mktemp -d)
started=()
# What else has to go once they have ended: a script may replace it.
clean_up_more() { :; }
clean_up() {
    local pid
    for pid in "${started[@]}"; do kill "$pid" 2>/dev/null || true; done
    for pid in "${started[@]}"; do wait "$pid" 2>/dev/null || true; done
    clean_up_more
    rm -rf "$work"
}
trap clean_up EXIT
trap 'exit 130' INT TERM

die() { echo "${0##*/}: $*" >&2; exit 1; }

# await FILE PATTERN: waits until FILE has a line that matches, at most 10 s.
await() {
    local turn
    for turn in $(seq 200); do
        grep -qE "$2" "$1" 2>/dev/null && return 0
        sleep 0.05
    done
    cat "$1" >&2 || true
    die "no line like '$2' within 10 s"
}
