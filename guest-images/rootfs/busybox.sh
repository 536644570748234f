#!/bin/sh
# busybox.sh OUT: the static busybox of Debian's package busybox-static as OUT/busybox.
set -eu

mkdir -p "$1"
out=$(cd "$1" && pwd)
here=$(cd "$(dirname "$0")" && pwd)
# shellcheck source=guest-images/apt/packages.sh
. "$here/../apt/packages.sh"

work=$(mktemp -d "$out/.work.XXXXXX")
trap 'rm -rf "$work"' EXIT
cd "$work"

unpack_package busybox-static tree
# Debian 13 merged /bin into /usr/bin.
for bin in tree/bin tree/usr/bin; do
    [ ! -f "$bin/busybox" ] || mv "$bin/busybox" "$out/busybox"
done
[ -f "$out/busybox" ] || die "the package busybox-static has no busybox"
