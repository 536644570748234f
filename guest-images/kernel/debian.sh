#!/bin/sh
# debian.sh SERIES OUT: Debian's cloud kernel of that series (6.1 or 6.12), unpacked into OUT and
# not installed:
#
#   OUT/bzImage   the kernel as Debian ships it
#   OUT/config    its configuration
#   OUT/release   what `uname -r` says in it
#   OUT/modules/  what it expects in /lib/modules/RELEASE
#
# The ELF inside the bzImage (vmlinux) is unpacked by duplex itself, in
# src/guest_images/payload.rs, so that no decompressor need be installed.
set -eu

series=$1
mkdir -p "$2"
out=$(cd "$2" && pwd)
here=$(cd "$(dirname "$0")" && pwd)
# shellcheck source=guest-images/apt/packages.sh
. "$here/../apt/packages.sh"

work=$(mktemp -d "$out/.work.XXXXXX")
trap 'rm -rf "$work"' EXIT
cd "$work"

# Debian 12 calls 6.1 plain "cloud" and 6.12 by its number, Debian 13 calls 6.12 plain "cloud".
# Both are empty packages that depend on the one whose name has the full version.
find_image() {
    for meta in "linux-image-$series-cloud-amd64" linux-image-cloud-amd64; do
        image=$(record "$meta" | sed -n 's/^Depends:.*\(linux-image-[0-9][^ ,]*\).*/\1/p')
        case $image in "linux-image-$series."*) return ;; esac
    done
    return 1
}
with_lists find_image || die "this Debian has no cloud kernel of the series $series"

unpack_package "$image" tree
release=${image#linux-image-}
mv "tree/boot/vmlinuz-$release" "$out/bzImage"
mv "tree/boot/config-$release" "$out/config"
# Debian 13 merged /lib into /usr/lib.
for lib in tree/lib tree/usr/lib; do
    [ ! -d "$lib/modules/$release" ] || mv "$lib/modules/$release" "$out/modules"
done
[ -d "$out/modules" ] || die "the package $image has no modules"
echo "$release" >"$out/release"
