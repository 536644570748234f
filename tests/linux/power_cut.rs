//! A disk whose VMM is killed has everything that the guest was told is durable.

use crate::common::soak;
use crate::guest::in_emulation;
use crate::tools::Tools;

/// Says what it finds, then writes numbers, one after the other: a line to a file on /dev/vdc and
/// the sector of that number on /dev/vdd, each followed by fsync(2); and says when both are done.
const WRITE: &str = r#"
say() { echo "duplex guest: $*"; }
mount /dev/vdc /mnt 2>/dev/null || { mkfs.ext4 -q /dev/vdc; mount /dev/vdc /mnt; touch /mnt/log; }
count='$1 != NR { exit } { n = NR } END { print n + 0 }'
n=$(awk "$count" </mnt/log)
say "found $n $(tr -d '\000 ' </dev/vdd | awk "$count")"
while :; do
    n=$((n + 1))
    echo $n | dd of=/mnt/log oflag=append conv=notrunc,fsync 2>/dev/null || exit 1
    printf '%511s\n' $n | dd of=/dev/vdd bs=512 seek=$n conv=fsync 2>/dev/null || exit 1
    say "durable $n"
done
"#;

/// Boots the guest again and again, and kills it when it has said "durable" so and so often. A boot
/// checks what the one before it left.
const CUT: &str = r#"
cd "$(mktemp -d /run/power.XXXXXX)"
truncate -s 16M fs; truncate -s 2M raw; mkfifo said
return=$(printf '\r')
last=0; cuts=0; lost=0
while [ $cuts -lt $CUTS ]; do
    left=$((cuts * 37 % 23 + 5))
    become_boot --disk fs,engine=$ENGINE --disk raw,engine=$ENGINE >said &
    vmm=$!
    while read -r line; do
        line=${line%"$return"}
        case $line in
        *"guest: found "*)
            echo "$line, durable were $last"
            found=${line##*found }
            [ ${found% *} -ge $last ] && [ ${found#* } -ge $last ] || lost=$((lost + 1))
            ;;
        *"guest: durable "*)
            last=${line##* }
            left=$((left - 1))
            [ $left -gt 0 ] || { kill -KILL $vmm; break; }
            ;;
        *) echo "$line" ;;
        esac
    done <said
    wait $vmm
    status=$?
    [ $status = 137 ] || { echo "duplex guest: it ended with $status"; exit 1; }
    cuts=$((cuts + 1))
done
echo "duplex guest: $cuts cuts, $last durable, $lost times something was lost"
cd /; rm -r "$OLDPWD"
"#;

#[test]
fn nothing_that_was_durable_is_missing_after_the_vmm_was_killed() {
    // The last of them only sees what the one before left.
    let cuts = if soak() { 26 } else { 4 };
    for engine in ["io_uring", "threads"].iter().take(if soak() { 2 } else { 1 }) {
        in_emulation(&("power cuts", engine), || {
            let script = format!("CUTS={cuts} ENGINE={engine}\n{CUT}");
            let run = Tools::new(WRITE).in_testbed(&script);
            let said = run.said(&format!("{cuts} cuts, "));
            assert!(said.ends_with(" 0 times something was lost"), "{}", run.stdout());
            assert!(!said.starts_with("0 durable"), "{}", run.stdout());
        });
    }
}
