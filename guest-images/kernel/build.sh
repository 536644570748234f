#!/bin/sh
# build.sh OUT: builds the tuned kernel from Debian's package linux-source-6.12 and the
# configuration in fragment.config beside this script. The source is unpacked, not installed.
#
#   OUT/vmlinux     the stripped ELF, with a PVH note
#   OUT/bzImage     the same kernel as bzImage
#   OUT/config      its complete configuration
#   OUT/System.map  its symbols, for finding out where time goes
#
# Takes 4 to 9 minutes on two processors and 1 GB below OUT, which are given back at the end.
# $DUPLEX_JOBS compilers run at once (one for each processor).
set -eu

mkdir -p "$1"
out=$(cd "$1" && pwd)
here=$(cd "$(dirname "$0")" && pwd)
# shellcheck source=guest-images/apt/packages.sh
. "$here/../apt/packages.sh"

# How many files the build compiles, for the progress bar only.
files=1025

# The build runs these programs, which come from these packages.
packages=
for pair in make:make gcc:gcc ld:binutils flex:flex bison:bison bc:bc xz:xz-utils lz4:lz4; do
    command -v "${pair%:*}" >/dev/null || packages="$packages ${pair#*:}"
done
# objtool, a program of the build, reads ELF files with it.
[ -f /usr/include/libelf.h ] || packages="$packages libelf-dev"
[ -f /usr/include/stdio.h ] || packages="$packages libc6-dev"
if [ -n "$packages" ]; then
    [ "$(id -u)" = 0 ] || die "build tools are missing; install them with: sudo apt-get install$packages"
    need_apt
    echo "step installing$packages"
    # shellcheck disable=SC2086 # a list of words
    DEBIAN_FRONTEND=noninteractive apt-get -qq install --no-install-recommends -y $packages >&2 || {
        apt-get -qq update >&2
        DEBIAN_FRONTEND=noninteractive apt-get -qq install --no-install-recommends -y $packages >&2
    }
fi

work=$(mktemp -d "$out/.work.XXXXXX")
trap 'rm -rf "$work"' EXIT
cd "$work"

unpack_package linux-source-6.12 package
# Without what no build of ours reads: two thirds of the bytes. Kconfig files are read all.
tar -xJf package/usr/src/linux-source-6.12.tar.xz \
    --exclude='*.rst' --exclude='*.dts' --exclude='*.dtsi' --exclude='*/tools/testing/*' \
    --exclude='linux-source-6.12/arch/[!x]*.[chS]' --exclude='*/drivers/gpu/*.[ch]' \
    --exclude='*/drivers/media/*.[ch]' --exclude='*/drivers/net/*/*.[ch]' --exclude='*/sound/*.[ch]'
rm -rf package
cd linux-source-6.12
[ -z "${DUPLEX_INPUTS-}" ] || gcc --version | head -n 1 >>"$DUPLEX_INPUTS"

# Every option that the fragment does not name is off. That goes further than tinyconfig, where an
# option's default comes back as soon as what it depends on is on (the old ptys, for one, which
# alone cost 39 million instructions at boot).
echo "step configuring"
make -s KCONFIG_ALLCONFIG="$here/fragment.config" allnoconfig >&2

# An option whose dependencies are not met is dropped without a word: not here.
lost=$(grep -E '^(CONFIG_|# CONFIG_)' "$here/fragment.config" | while read -r line; do
    case $line in
    "# "*" is not set")
        name=${line#\# }
        ! grep -q "^${name%% *}=" .config || echo "$line"
        ;;
    *) grep -qxF -e "$line" .config || echo "$line" ;;
    esac
done)
[ -z "$lost" ] || die "the kernel's configuration did not take these options of fragment.config:
$lost"

# The same inputs give the same kernel, whoever builds it and when.
export KBUILD_BUILD_USER=duplex KBUILD_BUILD_HOST=duplex KBUILD_BUILD_VERSION=1
KBUILD_BUILD_TIMESTAMP=$(date -u -r Makefile)
export KBUILD_BUILD_TIMESTAMP

echo "step compiling Linux $(make -s kernelversion)"
{ make -j"${DUPLEX_JOBS:-$(nproc)}" bzImage 2>&1 || touch failed; } | tee make.log | {
    compiled=0
    while read -r what _; do
        [ "$what" = CC ] || continue
        compiled=$((compiled + 1))
        echo "parts $compiled $files"
    done
}
if [ -e failed ]; then
    # With several compilers at work the reason is seldom in the last lines.
    grep -iE 'error|\*\*\*|no rule' make.log | tail -n 8 >&2
    die "the kernel did not compile"
fi

cp .config "$out/config"
cp System.map "$out/System.map"
cp arch/x86/boot/bzImage "$out/bzImage"
# Symbols are not needed to run it; notes are.
objcopy --strip-all --remove-section=.comment vmlinux "$out/vmlinux"
