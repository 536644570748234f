#!/bin/sh
# net-beside-qemu.sh duplex|qemu|qemu-vhost [PREFIX…]: iperf3 and ping between a guest of duplex, or of
# QEMU's microvm, and its host, over a tap with all offloads, in a testbed that counts instructions: its
# clock advances by one nanosecond an instruction of host, VMM and guest together, on one processor.
# PREFIX is a program in front of the VMM's, as `/usr/bin/chrt -b 0`.
set -eu
vmm=$1
shift
cd "$(dirname "$0")/.."
duplex=$PWD/target/x86_64-unknown-linux-gnu/release/duplex
images=$(cargo run -q --example guest-images -- tuned tools 2>&1)
kernel=$(echo "$images" | sed -n 's/^tuned: \(.*vmlinux\)$/\1/p')
tools=$(echo "$images" | sed -n 's/^tools: //p')
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# In the guest. After each mark the host reads KVM's counters, while the guest sleeps.
cat >"$work/script" <<'END'
ip addr add 10.9.8.2/24 dev eth0
ip link set eth0 up
device=$(basename "$(readlink /sys/class/net/eth0/device)")
interrupts() { awk -v name="$device" '$NF == name { print $2 }' /proc/interrupts; }
run() {
    name=$1
    shift
    before=$(interrupts)
    echo "mark $name begins"
    sleep 1
    "$@" >out 2>&1 || cat out
    grep -E 'receiver|round-trip' out
    echo "mark $name ends; interrupts $(($(interrupts) - before))"
    sleep 1
}
run warm iperf3 -c 10.9.8.1 -n 8M
run idle true
run send iperf3 -c 10.9.8.1 -n 64M
run receive iperf3 -c 10.9.8.1 -n 64M -R
run ping ping -q -c 200 -i 0.01 10.9.8.1
END
truncate -s %512 "$work/script"

# On the host of the guest: the tap, the server, the VMM, and KVM's counters at each mark.
cat >"$work/host" <<'END'
ip=$1 iperf3=$2
shift 2
mount -t debugfs debugfs /sys/kernel/debug 2>/dev/null
$ip link set lo up
$ip tuntap add tap0 mode tap vnet_hdr
$ip addr add 10.9.8.1/24 dev tap0
$ip link set tap0 up
$iperf3 -s >/dev/null 2>&1 &
server=$!
mkfifo /console
"$@" </dev/null >/console &
vmm=$!
while read -r line; do
    echo "$line"
    case $line in
    # QEMU would wait for ever: without ACPI a guest cannot power itself off.
    "duplex guest: status"*) break ;;
    mark*) echo "  exits $(cat /sys/kernel/debug/kvm/exits), to user space for MMIO" \
        "$(cat /sys/kernel/debug/kvm/mmio_exits), halts $(cat /sys/kernel/debug/kvm/halt_exits)" ;;
    esac
done </console
kill $vmm $server
END

words="console=ttyS0 quiet panic=-1 root=/dev/vda ro duplex.script=/dev/vdb"
case $vmm in
duplex)
    set -- "$@" "$duplex" boot --testbed never --kernel "$kernel" --cmdline "$words" --memory 256M \
        --rng --disk "$tools,ro" --disk "$work/script,ro" --net tap=tap0
    ;;
qemu*)
    vhost=off
    [ "$vmm" = qemu ] || vhost=on
    set -- "$@" /usr/bin/qemu-system-x86_64 \
        -M microvm,acpi=off,x-option-roms=off,pit=on,pic=on,rtc=on,isa-serial=on -enable-kvm -cpu host \
        -m 256 -smp 1 -nodefaults -no-user-config -nographic -serial stdio -no-reboot \
        -global virtio-mmio.force-legacy=false -kernel "$kernel" -append "$words" \
        -object rng-random,filename=/dev/urandom,id=random -device virtio-rng-device,rng=random \
        -drive "if=none,id=tools,format=raw,file=$tools,readonly=on" \
        -device virtio-blk-device,drive=tools \
        -drive "if=none,id=script,format=raw,file=$work/script,readonly=on" \
        -device virtio-blk-device,drive=script \
        -netdev "tap,id=net,ifname=tap0,script=no,downscript=no,vhost=$vhost" \
        -device virtio-net-device,netdev=net
    ;;
esac
"$duplex" testbed run --count-instructions "--input=$kernel" "--input=$tools" "--input=$work/script" \
    "--input=$work/host" --input=/usr/share/qemu --input=/usr/share/seabios -- \
    /bin/busybox sh "$work/host" /sbin/ip /usr/bin/iperf3 "$@" </dev/null
