//! A file system on a disk, seen from both sides, and disks whose host fails them.

use std::fs::{self, File};
use std::os::unix::fs::MetadataExt;

use crate::common::text;
use crate::disks::sha256;
use crate::guest::in_emulation;
use crate::tools::Tools;

const MIB: u64 = 1 << 20;

/// Makes a file system, fills it, checks it, remounts it and reads it back; then makes room again.
const FILL: &str = r#"
say() { echo "duplex guest: $*"; }
mkfs.ext4 -q /dev/vdc && say made || exit 1
mount /dev/vdc /mnt
mkdir /mnt/many
for n in $(seq 200); do echo "file $n" >/mnt/many/$n; done
dd if=/dev/urandom of=/mnt/one bs=64k count=64 2>/dev/null
before=$(cat /mnt/one /mnt/many/* | sha256sum)
! dd if=/dev/zero of=/mnt/rest bs=64k 2>said && grep -q 'No space left' said && say filled
umount /mnt
fsck.ext4 -fn /dev/vdc >said 2>&1 && say clean || cat said
mount /dev/vdc /mnt
[ "$(cat /mnt/one /mnt/many/* | sha256sum)" = "$before" ] && say "the same"
[ -z "$(tr -d '\000' </mnt/rest | head -c 1)" ] && say "zeroes are zeroes"
umount /mnt
say "full $(sha256sum </dev/vdc)"
"#;

const TRIM: &str = r#"
say() { echo "duplex guest: $*"; }
mount /dev/vdc /mnt
rm /mnt/rest
sync
fstrim /mnt && say trimmed
umount /mnt
fsck.ext4 -fn /dev/vdc >said 2>&1 && say clean || cat said
say "trimmed image $(sha256sum </dev/vdc)"
"#;

#[test]
fn a_file_system_is_filled_checked_and_trimmed_and_both_sides_see_the_same() {
    in_emulation(&"a file system", || {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("disk.img");
        File::create(&path).unwrap().set_len(24 * MIB).unwrap();
        let disk = format!("--disk={}", text(&path));

        let filled = Tools::new(FILL).boot(&[&disk]);
        assert_eq!(filled.said("status "), "0", "{}", filled.stdout());
        for done in ["made", "filled", "clean", "the same", "zeroes are zeroes"] {
            filled.said(done);
        }
        assert_eq!(filled.said("full ").trim_end_matches("  -"), sha256(&path));
        let full = fs::metadata(&path).unwrap().blocks() * 512;
        assert!(full > 18 * MIB, "{full} bytes");

        let trimmed = Tools::new(TRIM).boot(&[&disk]);
        trimmed.said("trimmed");
        trimmed.said("clean");
        assert_eq!(trimmed.said("trimmed image ").trim_end_matches("  -"), sha256(&path));
        let left = fs::metadata(&path).unwrap().blocks() * 512;
        assert!(left < 10 * MIB, "{full} bytes before, {left} after");
    });
}

/// /dev/vdc's host has no room for all of it; /dev/vdd's file is cut off when the guest says so.
const FAIL: &str = r#"
say() { echo "duplex guest: $*"; }
! dd if=/dev/urandom of=/dev/vdc bs=64k oflag=direct 2>/dev/null && say "vdc is full"
dd if=/dev/vdc of=/dev/null bs=64k count=16 iflag=direct 2>/dev/null && say "vdc is read"
last="dd if=/dev/vdd of=/tmp/last bs=4k skip=2047 iflag=direct"
$last 2>/dev/null && say "vdd is whole"
say "cut it off"
while $last 2>/dev/null; do :; done
say "vdd is cut off"
dd if=/dev/vdd of=/dev/null bs=4k count=256 iflag=direct 2>/dev/null && say "vdd has its start"
dd if=/dev/urandom of=/dev/vdd bs=4k seek=2047 count=1 oflag=direct 2>/dev/null && $last && say "vdd grows"
"#;

#[test]
fn a_full_host_and_a_file_that_is_cut_off_are_errors_in_the_guest_and_nothing_else() {
    for engine in ["io_uring", "threads"] {
        in_emulation(&("failing disks", engine), || {
            let run = Tools::new(FAIL).in_testbed(&format!(
                r#"
                small=$(mktemp -d /run/small.XXXXXX); mount -t tmpfs -o size=4m tmpfs $small
                cut=$(mktemp -d /run/cut.XXXXXX); truncate -s 16M $small/disk; truncate -s 8M $cut/disk
                mkfifo $cut/said
                boot --disk $small/disk,engine={engine} --disk $cut/disk,engine={engine} >$cut/said &
                while read -r line; do
                    echo "$line"
                    case $line in *"cut it off"*) truncate -s 1M $cut/disk ;; esac
                done <$cut/said
                wait $!; echo "duplex guest: duplex said $?"
                umount $small; rm -r $small $cut"#
            ));
            assert_eq!(run.said("status "), "0", "{}", run.stdout());
            for done in [
                "vdc is full",
                "vdc is read",
                "vdd is whole",
                "vdd is cut off",
                "vdd has its start",
                "vdd grows",
            ] {
                run.said(done);
            }
            assert_eq!(run.said("duplex said "), "0");
        });
    }
}
