#!/usr/bin/env bash
# Measures Plaza and other relays in turn, on the same corpus and this machine, and writes one table to compare them.
#
#   bench/compare.sh [OPTION]… [-- OPTION-OF-plaza-bench…]
#
#   bench/compare.sh                                     Plaza, nostr-rs-relay and rnostr, 100,000 events
#   bench/compare.sh -- --events 20000 --runs 1          a first look
#   bench/compare.sh --peers nostr-rs-relay --parts "ingest query"
#   bench/compare.sh --relay strfry 127.0.0.1:7778 "/opt/strfry --config /opt/strfry.conf relay" /opt/strfry-db
#
# Options:
#   --parts "PART…"       what is measured: ingest query fanout connections start (all of these by default)
#   --peers "NAME…"       which peers are built and measured: nostr-rs-relay rnostr (both by default), or ""
#   --relay NAME ADDRESS COMMAND DATA
#                         another relay: where it listens (host:port), the command that starts it and stays in the
#                         foreground, and the folder of its data, which is EMPTIED. May be given several times.
#   --running NAME ADDRESS PID
#                         another relay that runs already; its store cannot be emptied, and its start not measured.
#   --cache DIR           where peers are built and keep settings and data (bench/.cache)
#   --out DIR             where each relay's figures (NAME.json) and the table (table.md) go (DIR of cache/results)
#
# Each relay's rate limits are raised or off, its bounds on sizes and numbers are at least what Plaza's are, and all
# else is as it comes. What a relay cannot answer in time, or cannot do, is said in the table and ends nothing.
#
# nostr-rs-relay needs protoc to be built (Debian: protobuf-compiler). A peer that does not build is left out.
set -euo pipefail

root=$(cd "$(dirname "$0")/.." && pwd)
cache="$root/bench/.cache"
out=""
parts="ingest query fanout connections start"
peers="nostr-rs-relay rnostr"
options=()
# Of each further relay: name, address, then command and data, or "pid" and the process.
others=()

say() { printf 'compare: %s\n' "$*" >&2; }

die() {
    say "$*"
    exit 2
}

# Shows the comment at the head of this file.
usage() { awk 'NR > 1 && !/^#/ { exit } NR > 1 { sub(/^# ?/, ""); print }' "$0"; }

need() { [ "$1" -ge "$2" ] || die "$3 needs more; see --help"; }

while [ $# -gt 0 ]; do
    case $1 in
        --help | -h) usage; exit 0 ;;
        --parts) need $# 2 "$1"; parts=$2; shift 2 ;;
        --peers) need $# 2 "$1"; peers=$2; shift 2 ;;
        --cache) need $# 2 "$1"; cache=$2; shift 2 ;;
        --out) need $# 2 "$1"; out=$2; shift 2 ;;
        --relay) need $# 5 "$1"; others+=("$2" "$3" "$4" "$5"); shift 5 ;;
        --running) need $# 4 "$1"; others+=("$2" "$3" pid "$4"); shift 4 ;;
        --) shift; options=("$@"); break ;;
        *) die "$1 is no option; see --help" ;;
    esac
done

mkdir -p "$cache"
cache=$(cd "$cache" && pwd)
out=${out:-$cache/results}
mkdir -p "$out"
read -ra part_list <<<"$parts"
read -ra peer_list <<<"$peers"

# Ten thousand connections are ten thousand files, on both sides.
ulimit -n "$(ulimit -Hn)" || say "the limit of open files stays at $(ulimit -n)"

say "building Plaza"
cargo build --quiet --release --manifest-path "$root/Cargo.toml" --bin plaza
plaza=${CARGO_TARGET_DIR:-$root/target}/release/plaza

# measure NAME OPTION…: one relay, into NAME.json; the order of calls is the order of the table's columns.
files=()
measure() {
    local name=$1
    shift
    say "measuring $name"
    # Written beside first, so that a run that fails leaves no half of a file.
    if "$plaza" bench "${part_list[@]}" --json --folder "$cache/run" "$@" ${options[@]+"${options[@]}"} >"$out/$name.part"; then
        mv "$out/$name.part" "$out/$name.json"
        files+=("$out/$name.json")
    else
        rm -f "$out/$name.part"
        say "$name could not be measured and is left out"
    fi
}

# Peers from crates.io are built once.
build_nostr_rs_relay() {
    cargo install --quiet nostr-rs-relay --version 0.8.12 --root "$cache"
}

# Its full-text search brings dictionaries of Japanese and Korean, which their crates download while they are built,
# from where they cannot always be had. That search is off below, so rnostr is built without them.
build_rnostr() {
    local source="$cache/rnostr-source" sources
    sources="$source/vendor"
    rm -rf "$source"
    mkdir -p "$source/src"
    cat >"$source/Cargo.toml" <<TOML
[package]
name = "sources"
version = "0.0.0"
edition = "2021"
[workspace]
[dependencies]
rnostr = "=0.4.8"
nostr-db = "=0.4.5"
TOML
    : >"$source/src/lib.rs"
    cargo vendor --quiet --versioned-dirs --manifest-path "$source/Cargo.toml" "$sources" >/dev/null &&
        sed -i 's/^\[dependencies\.charabia\]$/&\ndefault-features = false/' "$sources/nostr-db-0.4.5/Cargo.toml" &&
        printf '\n[workspace]\n[patch.crates-io]\nnostr-db = { path = "../nostr-db-0.4.5" }\n' \
            >>"$sources/rnostr-0.4.8/Cargo.toml" &&
        cargo install --quiet --path "$sources/rnostr-0.4.8" --root "$cache"
}

# build NAME COMMAND: a peer, unless it is there.
build() {
    [ ! -x "$cache/bin/$1" ] || return 0
    say "building $1; this takes a while"
    CARGO_TARGET_DIR="$cache/target" "$2"
}

# Settings of the peers. They listen on this machine only.
nostr_rs_relay() {
    local folder="$cache/nostr-rs-relay"
    mkdir -p "$folder"
    # Without rates nothing is limited over time. Its broadcast buffer loses events when it is full.
    cat >"$folder/config.toml" <<TOML
[info]
relay_url = "ws://127.0.0.1:7801/"
name = "nostr-rs-relay"
[network]
address = "127.0.0.1"
port = 7801
[options]
reject_future_seconds = 1800
[limits]
messages_per_sec = 0
subscriptions_per_min = 0
max_event_bytes = 524288
max_ws_message_bytes = 524288
max_ws_frame_bytes = 524288
broadcast_buffer = 65536
TOML
    measure nostr-rs-relay --name "nostr-rs-relay 0.8.12" --relay 127.0.0.1:7801 --data "$folder/data" \
        --start "env RUST_LOG=error '$cache/bin/nostr-rs-relay' --db '$folder/data' --config '$folder/config.toml'"
}

rnostr() {
    local folder="$cache/rnostr"
    mkdir -p "$folder"
    cat >"$folder/rnostr.toml" <<TOML
[information]
name = "rnostr"
[data]
path = "$folder/data"
[network]
host = "127.0.0.1"
port = 7802
[limitation]
max_message_length = 524288
max_subscriptions = 1000
max_filters = 32
max_limit = 5000
max_event_time_older_than_now = 1500000000
[metrics]
enabled = false
[auth]
enabled = false
[rate_limiter]
enabled = false
[count]
enabled = true
TOML
    measure rnostr --name "rnostr 0.4.8" --relay 127.0.0.1:7802 --data "$folder/data" \
        --start "env RUST_LOG=error '$cache/bin/rnostr' relay -c '$folder/rnostr.toml'"
}

measure plaza
for peer in ${peer_list[@]+"${peer_list[@]}"}; do
    case $peer in
        nostr-rs-relay) if build "$peer" build_nostr_rs_relay; then nostr_rs_relay; else say "$peer does not build here"; fi ;;
        rnostr) if build "$peer" build_rnostr; then rnostr; else say "$peer does not build here"; fi ;;
        *) die "$peer is no peer that this script builds; use --relay" ;;
    esac
done
for ((at = 0; at < ${#others[@]}; at += 4)); do
    name=${others[at]} address=${others[at + 1]}
    if [ "${others[at + 2]}" = pid ]; then
        measure "$name" --name "$name" --relay "$address" --pid "${others[at + 3]}"
    else
        measure "$name" --name "$name" --relay "$address" --start "${others[at + 2]}" --data "${others[at + 3]}"
    fi
done

[ ${#files[@]} -gt 0 ] || die "nothing was measured"
"$plaza" bench table "${files[@]}" | tee "$out/table.md"
say "the table is in $out/table.md, all figures beside it"
