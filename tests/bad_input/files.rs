//! Kernels and initrds that are no such files, or cannot be read.

use std::ffi::OsStr;
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use nix::sys::stat::Mode;
use nix::unistd::mkfifo;

use super::harness::{Case, Surroundings, Workbench, sparse};
use super::samples::Elf;

pub(crate) fn cases(bench: &Workbench) -> Vec<Case> {
    let mut cases = kernels(bench);
    cases.extend(initrds(bench));
    cases
}

fn kernels(bench: &Workbench) -> Vec<Case> {
    let pipe = bench.path("kernel-pipe");
    mkfifo(&pipe, Mode::S_IRWXU).unwrap();
    let secret = bench.file("kernel-unreadable", Elf::kernel(vec![0xF4]).build());
    fs::set_permissions(&secret, Permissions::from_mode(0o000)).unwrap();
    vec![
        kernel("kernel-missing", &bench.path("kernel-missing")),
        kernel("kernel-in-a-file", &bench.file("text", "hello\n").join("kernel")),
        kernel("kernel-directory", &bench.path("")),
        kernel("kernel-pipe", &pipe),
        kernel("kernel-device", Path::new("/dev/zero")),
        kernel("kernel-unreadable", &secret).within(Surroundings::Nobody),
        bench.kernel("kernel-empty", ""),
        bench.kernel("kernel-one-byte", "\x7F"),
        bench.kernel("kernel-text", "#!/bin/sh\necho this is no kernel\n"),
        bench.kernel("kernel-zeroes", vec![0; 65536]),
        kernel("kernel-bin-true", Path::new("/bin/true")),
        kernel("kernel-duplex", &bench.path("duplex")),
    ]
}

fn kernel(name: &str, path: &Path) -> Case {
    Case::new(name, [OsStr::new("--kernel"), path.as_os_str()], path.to_string_lossy())
}

fn initrds(bench: &Workbench) -> Vec<Case> {
    let kernel = bench.file("good-kernel", Elf::kernel(vec![0xF4]).build());
    let initrd = |name: &str, path: &Path| {
        let args =
            [OsStr::new("--kernel"), kernel.as_os_str(), OsStr::new("--initrd"), path.as_os_str()];
        Case::new(name, args, path.to_string_lossy())
    };
    let pipe = bench.path("initrd-pipe");
    mkfifo(&pipe, Mode::S_IRWXU).unwrap();
    let secret = bench.file("initrd-unreadable", "cpio");
    fs::set_permissions(&secret, Permissions::from_mode(0o000)).unwrap();
    let large = bench.path("initrd-too-large");
    sparse(&large, 257 << 20);
    let huge = bench.path("initrd-huge");
    sparse(&huge, 1 << 40);
    vec![
        initrd("initrd-missing", &bench.path("initrd-missing")),
        initrd("initrd-directory", &bench.path("")),
        initrd("initrd-empty", &bench.file("initrd-empty", "")),
        initrd("initrd-pipe", &pipe),
        initrd("initrd-device", Path::new("/dev/zero")),
        initrd("initrd-unreadable", &secret).within(Surroundings::Nobody),
        initrd("initrd-too-large", &large),
        initrd("initrd-huge", &huge),
    ]
}
