//! fio in the guest writes, reads back and verifies, on both engines.

use std::fmt::Write as _;

use crate::common::{say, soak};
use crate::guest::in_emulation;
use crate::tools::Tools;

/// What fio does: how much of the disk it works on, in units of 256 KiB, and the rest.
const JOBS: [(&str, u32, &str); 5] = [
    ("in order, small, one by one", 1, "rw=write bs=4k iodepth=1"),
    ("in order, large", 16, "rw=write bs=1m iodepth=4 fsync=2"),
    ("anywhere, small, many", 4, "rw=randwrite bs=4k iodepth=64 fsync=64"),
    (
        "anywhere, of all sizes",
        16,
        "rw=randwrite bsrange=4k-1m blockalign=4k iodepth=16 fdatasync=8",
    ),
    ("reads between writes", 4, "rw=randrw bs=16k iodepth=32 ioengine=io_uring"),
];

/// A script that runs all jobs, `scale` times as large as above, each on its own part of /dev/vdc.
fn script(scale: u32) -> (String, u32) {
    let mut text = String::from(
        "cat >jobs <<END\n[global]\nfilename=/dev/vdc\ndirect=1\nioengine=libaio\nverify=crc32c\n\
         verify_fatal=1\nstonewall\n",
    );
    let mut at = 0;
    for (name, units, options) in JOBS {
        let kib = units * scale * 256;
        let options = options.replace(' ', "\n");
        write!(text, "[{name}]\noffset={at}k\nsize={kib}k\n{options}\n").unwrap();
        at += kib;
    }
    text.push_str(
        "END\nfio --output-format=terse jobs >done 2>said\nstatus=$?\ncat said\n\
         while IFS=';' read -r _ _ name _ error _; do\n\
         echo \"duplex guest: $name: error $error\"\ndone <done\nexit $status\n",
    );
    (text, at)
}

#[test]
fn fio_reads_back_what_it_wrote_with_every_pattern_on_both_engines() {
    let (script, kib) = script(if soak() { 16 } else { 1 });
    for engine in ["io_uring", "threads"] {
        in_emulation(&("fio", engine), || {
            let run = Tools::new(&script).in_testbed(&format!(
                "cd \"$(mktemp -d /run/fio.XXXXXX)\" && truncate -s {kib}K disk && boot --cpus 2 \
                 --disk disk,queues=2,engine={engine}; cd /; rm -r \"$OLDPWD\""
            ));
            assert_eq!(run.said("status "), "0", "{}", run.stdout());
            for (name, ..) in JOBS {
                assert_eq!(run.said(&format!("{name}: ")), "error 0");
            }
            assert!(!run.stdout().contains("verify:"), "{}", run.stdout());
        });
    }
    if !soak() {
        say("SKIPPED: fio on 16 times as much is part of make soak");
    }
}
