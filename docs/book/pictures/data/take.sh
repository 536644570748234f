#!/bin/sh
# Takes the data of the book's pictures anew, from real runs: sh take.sh, where $K, $H and the folder
# rootfs are as the book's contents have them, and duplex is a release build.
# Whole lines as `--timing --json` prints them, traces as `trace show --json` tells them, and reports;
# `cargo run --example book-pictures` makes pictures and the measured table of them.
set -eu
to=$(cd "$(dirname "$0")" && pwd)
words='console=ttyS0 reboot=t panic=-1'
boot() { duplex boot "$@" --kernel "$K" --initrd "$H" --memory 128M; }
timing() { grep '"phases"' >"$to/$1"; }

boot --count-instructions --json --cmdline "$words quiet" 2>&1 >/dev/null | timing boot-instructions.json
# Before others that want the processor: it is about what a start takes, not about waiting.
chrt -f 10 duplex run --container --timing --json rootfs echo hello 2>&1 >/dev/null | timing container.json
duplex testbed start
boot --timing --json --cmdline "$words quiet" 2>&1 >/dev/null | timing boot-quiet.json
boot --timing --json --cmdline "$words" 2>&1 >/dev/null | timing boot-talkative.json
for size in 1 1048576; do
    duplex run --timing --json rootfs head -c $size /dev/zero 2>&1 >/dev/null | timing socket-$size.json
done

trace=$(mktemp)
boot --trace "$trace" --cmdline "$words" >/dev/null 2>&1
duplex trace show "$trace" --json >"$to/trace-talkative.json"
duplex run --trace "$trace" rootfs head -c 1048576 /dev/zero >/dev/null 2>&1
duplex trace show "$trace" --json >"$to/trace-socket.json"
rm "$trace"
duplex testbed stop

# Of all that is measured, the tables that the book shows.
duplex bench all --runs 10 --out "$to/report"
jq -c '.tables |= map(select(.case == "start" or .case == "memory"))' "$to/report/report.json" >"$to/bench-all.json"
rm -r "$to/report"
