//! Options that no guest can be made of.

use std::ffi::{OsStr, OsString};
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;

use nix::sys::stat::Mode;
use nix::unistd::mkfifo;

use super::harness::{Case, Surroundings, Workbench};
use super::samples::Elf;

pub(crate) fn cases(bench: &Workbench) -> Vec<Case> {
    let kernel = bench.file("some-kernel", Elf::kernel(vec![0xF4]).build());
    let with = |name: &str, options: &[&OsStr], about: &str| {
        let args = [OsStr::new("--kernel"), kernel.as_os_str()];
        Case::new(name, args.iter().chain(options), about)
    };
    let option = |name: &str, option: &str, value: &str| {
        with(name, &[OsStr::new(option), OsStr::new(value)], value)
    };
    let serial = |name: &str, path: &OsStr| {
        with(name, &[OsStr::new("--serial"), path], &path.to_string_lossy())
    };
    let pipe = bench.path("serial-pipe");
    mkfifo(&pipe, Mode::S_IRWXU).unwrap();
    let sealed = bench.path("sealed");
    fs::create_dir(&sealed).unwrap();
    fs::set_permissions(&sealed, Permissions::from_mode(0o555)).unwrap();
    let long = |length: usize| OsString::from("x".repeat(length));
    let cmdline =
        |name: &str, line: &OsStr, about: &str| with(name, &["--cmdline".as_ref(), line], about);
    vec![
        option("memory-0", "--memory", "0"),
        option("memory-1m", "--memory", "1M"),
        // On some processors that can be addressed, but no host has it.
        option("memory-8p", "--memory", "8P"),
        option("memory-99999999p", "--memory", "99999999P"),
        option("memory-5x", "--memory", "5X"),
        option("memory-minus-1", "--memory", "-1"),
        option("memory-fraction", "--memory", "1.5G"),
        option("memory-odd", "--memory", "33554433"),
        option("memory-empty", "--memory", ""),
        option("cpus-0", "--cpus", "0"),
        option("cpus-33", "--cpus", "33"),
        option("cpus-two", "--cpus", "two"),
        option("cpus-minus-1", "--cpus", "-1"),
        option("cpus-empty", "--cpus", ""),
        // An argument of a program has at most 128 KiB on Linux.
        cmdline("cmdline-2048", &long(2048), "2048"),
        cmdline("cmdline-64k", &long(64 << 10), "65536"),
        cmdline("cmdline-127k", &long(127 << 10), "130048"),
        serial("serial-directory", bench.path("").as_os_str()),
        serial("serial-nowhere", bench.path("no-such/log").as_os_str()),
        serial("serial-not-allowed", sealed.join("log").as_os_str()).within(Surroundings::Nobody),
        serial("serial-pipe", pipe.as_os_str()),
        serial("serial-over-kernel", kernel.as_os_str()),
        with("json-alone", &["--json".as_ref()], "--json"),
        with("unknown-option", &["--bogus".as_ref()], "--bogus"),
        with("unknown-on-reboot", &["--on-reboot".as_ref(), "perhaps".as_ref()], "perhaps"),
        with("surplus-argument", &["vmlinux".as_ref()], "vmlinux"),
        with("value-missing", &["--initrd".as_ref()], "--initrd"),
    ]
}
