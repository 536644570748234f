#!/bin/sh
# qemu.sh OUT: the QEMU that Debian backports to Debian 12, unpacked into OUT and not installed:
#
#   OUT/qemu-system-x86_64   which needs the libraries of Debian 12's own qemu-system-x86
#   OUT/firmware/            what it loads into a machine
set -eu

mkdir -p "$1"
out=$(cd "$1" && pwd)
here=$(cd "$(dirname "$0")" && pwd)
# shellcheck source=guest-images/apt/packages.sh
. "$here/../apt/packages.sh"

use_backports bookworm

work=$(mktemp -d "$out/.work.XXXXXX")
trap 'rm -rf "$work"' EXIT
cd "$work"

for package in qemu-system-x86 qemu-system-data seabios; do
    unpack_package "$package" tree
done
mkdir "$out/firmware"
mv tree/usr/bin/qemu-system-x86_64 "$out"
cd tree/usr/share
mv qemu/pvh.bin qemu/kvmvapic.bin seabios/bios-256k.bin "$out/firmware"
"$out/qemu-system-x86_64" --version >&2 || die "the QEMU of Debian's backports does not run here"
