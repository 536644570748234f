#!/bin/sh
# measure.sh KERNEL-DIR INITRAMFS [WORD...]: counts the instructions that a guest kernel takes from
# its first to the "user space reached" mark, function by function, and prints the total and the
# largest ones, in millions. KERNEL-DIR is what build.sh made (it has vmlinux and System.map), WORDs
# go to the kernel's command line. Debian's kernels come without symbols: for them only the total.
#
# QEMU emulates the guest, so the figures are the same on every machine and every time, and nothing
# but the guest is in them. Loops that wait for a timer to pass are counted apart: a KVM guest
# does not have them. $CPUS and $MEMORY (MiB) set the machine.
#
# Needs Debian's packages qemu-system-x86 and gcc.
set -eu

kernel=$1 initramfs=$2
shift 2
here=$(cd "$(dirname "$0")" && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

cc -O2 -Wall -Wextra -shared -fPIC -o "$work/count.so" "$here/count.c"

# Writing the mark's port ends QEMU, with a status that is never 0.
timeout 300 qemu-system-x86_64 -M microvm,acpi=off -accel tcg -icount shift=0,sleep=off \
    -cpu EPYC-Milan,-pcid,-invpcid -smp "${CPUS:-1}" -m "${MEMORY:-128}" \
    -nodefaults -no-user-config -display none -serial null -no-reboot \
    -device isa-debug-exit,iobase=0x5d0,iosize=1 -plugin "$work/count.so,out=$work/counts" \
    -kernel "$kernel/vmlinux" -initrd "$initramfs" \
    -append "console=ttyS0 reboot=t panic=-1 quiet no_timer_check $*" 2>"$work/errors" || true
[ -s "$work/counts" ] || {
    cat "$work/errors" >&2
    exit 1
}

# Symbols and blocks sorted by address into one list: a block belongs to the last symbol before it.
{
    cat "$work/counts"
    [ ! -f "$kernel/System.map" ] || sed -n 's/^ffffffff\([0-9a-f]\{8\}\) [tTwW] /\1 A /p' \
        "$kernel/System.map"
} | sort | awk '
    BEGIN {
        split("setup_boot_APIC_clock calibrate_delay read_current_timer quick_pit_calibrate " \
            "delay_tsc", names)
        for (i in names) waits[names[i]] = 1
    }
    $2 == "A" { symbol = $3; next }
    $1 == "user" { elsewhere += $3; next }
    symbol in waits { waiting += $3; next }
    { count[symbol] += $3; total += $3 }
    END {
        printf "%8.3f kernel\n%8.3f waiting for timers\n%8.3f elsewhere\n\n",
            total / 1e6, waiting / 1e6, elsewhere / 1e6
        for (symbol in count) printf "%8.3f %s\n", count[symbol] / 1e6, symbol | "sort -rn | head -40"
    }'
