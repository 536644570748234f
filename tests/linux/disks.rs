//! Virtio devices as real kernels drive them. The guest's init says what it sees and did
//! (`duplex.then=disks`); what it wrote is looked at in the file, on the host, after power-off.

use std::fmt::Write as _;
use std::fs;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::Path;

use sha2::{Digest, Sha256};

use crate::common::text;
use crate::guest::{Boot, Booted, in_emulation};
use crate::kernels::Kernel;

const MIB: u64 = 1 << 20;

pub(crate) fn sha256(path: &Path) -> String {
    let mut text = String::new();
    for byte in Sha256::digest(fs::read(path).unwrap()) {
        write!(text, "{byte:02x}").unwrap();
    }
    text
}

/// An image of noise that repeats: no byte of it is zero, so that holes show.
fn image(path: &Path, bytes: u64) {
    let file = fs::File::create(path).unwrap();
    let block: Vec<u8> = (0..65536_u32).map(|i| u8::try_from(i * 31 % 251 + 1).unwrap()).collect();
    for at in (0..bytes).step_by(block.len()) {
        file.write_all_at(&block, at).unwrap();
    }
}

fn check(kernel: Kernel, engine: &str) {
    let directory = tempfile::tempdir().unwrap();
    let writable = directory.path().join("a.img");
    let read_only = directory.path().join("b,comma.img");
    image(&writable, 16 * MIB);
    image(&read_only, 2 * MIB);
    let untouched = sha256(&read_only);
    let blocks_before = fs::metadata(&writable).unwrap().blocks();
    let doubled = text(&read_only).replace(',', ",,");
    let run: Booted = Boot::new(kernel)
        .cpus(2)
        .word("duplex.then=disks")
        .option(&format!("--disk={},queues=2,engine={engine}", text(&writable)))
        .option(&format!("--disk={doubled},ro,id=second"))
        .option("--rng")
        .run();
    assert_eq!(run.0.status.code(), Some(0), "{}", run.stderr());
    assert_eq!(run.said("vda has "), "32768 sectors, ro 0, serial disk0, queues 2");
    assert_eq!(run.said("vdb has "), "4096 sectors, ro 1, serial second, queues 1");
    for done in ["vda reads back", "vda discards", "vdb refuses writes", "entropy 16"] {
        run.said(done);
    }
    // The same bytes on both sides of the wall.
    assert_eq!(run.said("vda sha256 ").trim_end_matches("  -"), sha256(&writable));
    assert_eq!(run.said("vdb sha256 ").trim_end_matches("  -"), untouched);
    assert_eq!(sha256(&read_only), untouched);
    // 128 KiB were discarded at 1 MiB: a hole.
    let mut hole = [1; 128 << 10];
    fs::File::open(&writable).unwrap().read_exact_at(&mut hole, MIB).unwrap();
    assert!(hole.iter().all(|byte| *byte == 0));
    let blocks = fs::metadata(&writable).unwrap().blocks();
    assert_eq!(blocks_before - blocks, (128 << 10) / 512, "{blocks_before} blocks before");
    // A device that is found twice would say so.
    let output = String::from_utf8_lossy(&run.0.stdout).into_owned();
    for noise in ["can't request region", "EBUSY", "error -16", "I/O error, dev vda"] {
        assert!(!output.contains(noise), "{output}");
    }
}

#[test]
fn disks_and_entropy_work_with_every_kernel_and_engine() {
    for (kernel, engine) in [
        (Kernel::Debian61Elf, "io_uring"),
        (Kernel::Debian612Elf, "threads"),
        (Kernel::TunedElf, "io_uring"),
        (Kernel::TunedElf, "threads"),
    ] {
        in_emulation(&(kernel, engine), || check(kernel, engine));
    }
}

#[test]
fn sixteen_disks_are_found_and_the_seventeenth_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("disk.img");
    image(&path, MIB);
    let boot = |count: usize| {
        let disk = format!("--disk={},ro", text(&path));
        let boot = Boot::new(Kernel::TunedElf).word("duplex.then=disks");
        (0..count).fold(boot, |boot, _| boot.option(&disk))
    };
    in_emulation(&"16 disks", || {
        let run = boot(16).run();
        assert_eq!(run.0.status.code(), Some(0), "{}", run.stderr());
        run.said("vdp refuses writes");
    });
    in_emulation(&"17 disks", || {
        let run = boot(17).run();
        assert_eq!(run.0.status.code(), Some(125));
        assert!(run.stderr().contains("give at most 16"), "{}", run.stderr());
    });
}
