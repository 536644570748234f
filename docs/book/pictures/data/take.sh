#!/bin/sh
# Takes the data of the book's pictures anew, from real runs: sh take.sh, where $K, $H and the folder
# rootfs are as the book's contents have them, and duplex is a release build.
# Whole lines as `--timing --json` prints them; `cargo run --example book-pictures` draws them.
set -eu
to=$(cd "$(dirname "$0")" && pwd)
words='console=ttyS0 reboot=t panic=-1'
boot() { duplex boot "$@" --json --kernel "$K" --initrd "$H" --memory 128M; }
timing() { grep '"phases"' >"$to/$1"; }

boot --count-instructions --cmdline "$words quiet" 2>&1 >/dev/null | timing boot-instructions.json
# Before others that want the processor: it is about what a start takes, not about waiting.
chrt -f 10 duplex run --container --timing --json rootfs echo hello 2>&1 >/dev/null | timing container.json
duplex testbed start
boot --timing --cmdline "$words quiet" 2>&1 >/dev/null | timing boot-quiet.json
boot --timing --cmdline "$words" 2>&1 >/dev/null | timing boot-talkative.json
for size in 1 1048576; do
    duplex run --timing --json rootfs head -c $size /dev/zero 2>&1 >/dev/null | timing socket-$size.json
done
duplex testbed stop
