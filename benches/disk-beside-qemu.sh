#!/bin/sh
# disk-beside-qemu.sh duplex|qemu [ENGINE] [PREFIX…]: fio on a disk of 16 MiB in a guest of duplex or of
# QEMU's microvm, in a testbed that counts instructions: its clock advances by one nanosecond an
# instruction, so that a billion divided by "operations a second" is instructions an operation.
# PREFIX is a program in front of the VMM's, as `/usr/bin/chrt -b 0`.
set -eu
vmm=$1
engine=${2:-io_uring}
shift
[ $# = 0 ] || shift
cd "$(dirname "$0")/.."
duplex=$PWD/target/x86_64-unknown-linux-gnu/release/duplex
images=$(cargo run -q --example guest-images -- tuned tools 2>&1)
kernel=$(echo "$images" | sed -n 's/^tuned: \(.*vmlinux\)$/\1/p')
tools=$(echo "$images" | sed -n 's/^tools: //p')
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
head -c 16M /dev/urandom >"$work/disk"

cat >"$work/script" <<'END'
device=$(basename "$(readlink /sys/block/vdc/device)")
interrupts() { awk -v name="$device" '$NF == name { print $2 }' /proc/interrupts; }
run() {
    name=$1
    shift
    before=$(interrupts)
    fio --name="$name" --filename=/dev/vdc --direct=1 --ioengine=libaio --size=16m --randrepeat=1 \
        --output-format=terse --terse-version=3 "$@" >out
    echo "$name: read KiB, KiB/s, operations/s: $(cut -d';' -f6-8 out);" \
        "write: $(cut -d';' -f47-49 out); interrupts: $(($(interrupts) - before))"
}
run warm --rw=read --bs=1m
run read-4k-1 --rw=randread --bs=4k --iodepth=1 --io_size=4m
run read-4k-32 --rw=randread --bs=4k --iodepth=32 --io_size=8m
run read-1m --rw=read --bs=1m --iodepth=4
run write-4k-1 --rw=randwrite --bs=4k --iodepth=1 --io_size=4m
run write-4k-32 --rw=randwrite --bs=4k --iodepth=32 --io_size=8m
run write-1m --rw=write --bs=1m --iodepth=4
END
truncate -s %512 "$work/script"

words="console=ttyS0 quiet panic=-1 root=/dev/vda ro duplex.script=/dev/vdb"
set -- "--input=$kernel" "--input=$tools" "--input=$work/script" "--input=$work/disk" \
    --input=/usr/share/qemu --input=/usr/share/seabios -- "$@"
case $vmm in
duplex)
    set -- "$@" "$duplex" boot --testbed never --kernel "$kernel" --cmdline "$words" --memory 256M \
        --rng --disk "$tools,ro" --disk "$work/script,ro" --disk "$work/disk,engine=$engine" --timing
    ;;
qemu)
    set -- "$@" /usr/bin/qemu-system-x86_64 \
        -M microvm,acpi=off,x-option-roms=off,pit=on,pic=on,rtc=on,isa-serial=on -enable-kvm -cpu host \
        -m 256 -smp 1 -nodefaults -no-user-config -nographic -serial stdio -no-reboot \
        -global virtio-mmio.force-legacy=false -kernel "$kernel" -append "$words" \
        -object rng-random,filename=/dev/urandom,id=random -device virtio-rng-device,rng=random
    for disk in "$tools,readonly=on" "$work/script,readonly=on" "$work/disk,aio=$engine"; do
        name=${disk##*/}
        name=${name%%[.,]*}
        set -- "$@" -drive "if=none,id=$name,format=raw,file=$disk" \
            -device "virtio-blk-device,drive=$name"
    done
    ;;
esac
"$duplex" testbed run --count-instructions "$@" </dev/null
