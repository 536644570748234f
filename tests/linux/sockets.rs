//! vsock as real kernels drive it: both ends in the testbed, `examples/vsock-echo.rs` on each.

use std::fs;
use std::path::{Path, PathBuf};

use duplex::guest_images::Initramfs;

use crate::common::testbed;
use crate::common::{DUPLEX, process, text};
use crate::guest::{example, in_emulation};
use crate::kernels::Kernel;

/// The demo guest's initramfs with one more program: archives can follow each other.
fn with_program(kernel: Kernel, directory: &Path) -> PathBuf {
    let mut added = Initramfs::default();
    added.file("bin/program", 0o755, &fs::read(example("vsock-echo")).unwrap()).unwrap();
    let mut archive = fs::read(kernel.initramfs()).unwrap();
    archive.resize(archive.len().next_multiple_of(4), 0);
    archive.extend(added.finish().unwrap());
    let path = directory.join("with-program.cpio");
    fs::write(&path, archive).unwrap();
    path
}

fn check(kernel: Kernel) {
    let directory = tempfile::tempdir().unwrap();
    let initrd = with_program(kernel, directory.path());
    let kernel = kernel.file(directory.path());
    // In the testbed's own memory: a socket on the shared file system would be the host's.
    let script = format!(
        "mkdir -p /tmp/vsock && cd /tmp/vsock && rm -f v* && {} v {DUPLEX} boot --testbed never \
         --kernel {} --initrd {} --cmdline 'console=ttyS0 quiet panic=-1 duplex.then=program' \
         --memory 256M --vsock cid=7,path=v </dev/null && ls",
        text(&example("vsock-echo")),
        text(&kernel),
        text(&initrd)
    );
    let output = process::output(&mut testbed::in_testbed(&script));
    let stdout = String::from_utf8_lossy(&output.stdout);
    let stderr = String::from_utf8_lossy(&output.stderr);
    for done in [
        "duplex guest: 16 MiB came back",
        "duplex host: 16 MiB came back",
        "duplex guest: echoed 201 connections",
        "duplex host: 200 connections",
    ] {
        assert!(stdout.contains(done), "{done}?\n{stdout}\n{stderr}");
    }
    assert!(output.status.success(), "{stdout}\n{stderr}");
    // The listening socket is gone; those of the ports are the program's own.
    let left: Vec<_> = stdout.lines().rev().take(2).collect();
    assert_eq!(left, ["v_1001", "v_1000"], "{stdout}");
}

#[test]
fn bytes_and_connections_pass_both_ways() {
    for kernel in [Kernel::TunedElf, Kernel::Debian61Elf, Kernel::Debian612Elf] {
        in_emulation(&kernel, || check(kernel));
    }
}
