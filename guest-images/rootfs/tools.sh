#!/bin/sh
# tools.sh BUSYBOX INIT OUT: an ext4 image OUT/tools.ext4 whose root has Debian's programs for testing and
# measuring devices, with their libraries, beside a busybox, and INIT as /sbin/init.
set -eu

busybox=$1
init=$2
mkdir -p "$3"
out=$(cd "$3" && pwd)
here=$(cd "$(dirname "$0")" && pwd)
# shellcheck source=guest-images/apt/packages.sh
. "$here/../apt/packages.sh"

packages="fio iperf3 ethtool e2fsprogs"
programs="usr/bin/fio usr/bin/iperf3 usr/sbin/ethtool usr/sbin/mke2fs usr/sbin/e2fsck"

work=$(mktemp -d "$out/.work.XXXXXX")
trap 'rm -rf "$work"' EXIT
cd "$work"

# libraries_of PACKAGE...: the libraries that they depend on, directly.
libraries_of() {
    apt-cache depends --no-recommends --no-suggests --no-conflicts --no-breaks --no-replaces \
        --no-enhances "$@" 2>/dev/null | sed -n 's/^ *|*\(Pre\)\{0,1\}Depends: \(lib.*\|zlib1g\)$/\2/p' | sort -u
}

# The packages and all libraries behind them. What else they depend on (perl, python, debconf) is for
# other programs than ours.
download_with_libraries() {
    all=$packages
    new=$packages
    while [ -n "$new" ]; do
        # shellcheck disable=SC2086 # a list of words
        found=$(libraries_of $new)
        new=
        for library in $found; do
            case " $all " in *" $library "*) continue ;; esac
            all="$all $library"
            new="$new $library"
        done
    done
    rm -f ./*.deb
    # shellcheck disable=SC2086 # a list of words
    apt-get -o APT::Sandbox::User=root -qq download $all >&2
}

echo "step downloading fio, iperf3 and their libraries"
with_lists download_with_libraries || die "Debian's packages $packages cannot be downloaded"
if [ -n "${DUPLEX_INPUTS-}" ]; then
    # shellcheck disable=SC2086 # a list of words
    apt-cache show --no-all-versions $all | grep -E '^(Package|Version|SHA256):' >>"$DUPLEX_INPUTS"
fi

echo "step unpacking them"
# As Debian 13 has it, where packages no longer know of the old directories.
mkdir -p root/bin root/sbin root/lib64 root/usr/bin root/usr/sbin root/usr/lib tree/usr/bin tree/usr/lib \
    tree/usr/lib64 tree/usr/sbin
for merged in bin sbin lib lib64; do
    ln -s "usr/$merged" "tree/$merged"
done
for package in ./*.deb; do
    dpkg-deb --fsys-tarfile "$package" | tar -x -C tree --keep-directory-symlink
done

libraries=usr/lib/x86_64-linux-gnu
loader=tree/$libraries/ld-linux-x86-64.so.2
# librados looks for its own below the others by a path that it has built in.
run() {
    "$loader" --library-path "tree/$libraries:tree/$libraries/ceph" "$@"
}

echo "step putting the root together"
ln -s usr/lib root/lib
ln -s "../$libraries/ld-linux-x86-64.so.2" root/lib64/
mkdir -p "root/$libraries"
cp "$loader" "root/$libraries/"
for program in $programs; do
    [ -f "tree/$program" ] || die "the packages $packages have no /$program"
    cp "tree/$program" "root/$program"
    run --list "tree/$program" >list
    # Nor may they be the host's.
    ! grep -E 'not found|=> /' list >&2 || die "libraries of /$program are missing"
    sed -n "s|.*=> tree/\($libraries/[^ ]*\) .*|\1|p" list | while read -r library; do
        mkdir -p "root/${library%/*}"
        cp -L "tree/$library" "root/$library"
    done
done
ln -s mke2fs root/usr/sbin/mkfs.ext4
ln -s e2fsck root/usr/sbin/fsck.ext4

cp "$busybox" root/bin/busybox
for applet in $("$busybox" --list); do
    [ -e "root/bin/$applet" ] || ln -s busybox "root/bin/$applet"
done
cp "$init" root/sbin/init
chmod 755 root/sbin/init
mkdir -p root/dev root/etc root/mnt root/proc root/run root/sys root/tmp
cp tree/etc/mke2fs.conf root/etc/
ln -s /proc/mounts root/etc/mtab
echo root:x:0:0:root:/tmp:/bin/sh >root/etc/passwd
echo root:x:0: >root/etc/group

size=$(du -s --apparent-size --block-size=1M root | cut -f1)
rm -f tools.ext4
truncate -s "$((size + size / 8 + 8))M" tools.ext4
MKE2FS_CONFIG=tree/etc/mke2fs.conf run tree/usr/sbin/mke2fs -q -F -t ext4 -m 0 -O '^has_journal' \
    -E root_owner=0:0 -d root tools.ext4 >&2
mv tools.ext4 "$out/"
