//! A whole Debian on a disk, with its own kernel and initrd: systemd comes up, somebody logs in and
//! powers it off.

use std::fs::File;
use std::path::Path;
use std::process::Command;

use crate::common::terminal::Terminal;
use crate::common::{find_program, say, soak, testbed, text};
use crate::guest::in_emulation;

/// What a root needs beyond Debian's essential packages to boot by itself.
const PACKAGES: &str = "systemd-sysv,udev,login,linux-image-cloud-amd64,initramfs-tools";

/// An emulated machine takes longer for some devices than the 90 s that systemd waits for them.
const CMDLINE: &str = "console=ttyS0 root=/dev/vda rw systemd.default_timeout_start_sec=1800";

fn run(program: &str, arguments: &[&str]) {
    let status = Command::new(program).args(arguments).status().unwrap();
    assert!(status.success(), "{program} {arguments:?}: {status}");
}

/// Makes the root, and a disk of it.
fn make(directory: &Path) {
    let root = directory.join("root");
    let include = format!("--include={PACKAGES}");
    let hook = "--customize-hook=chroot \"$1\" passwd -d root";
    let arguments = ["--quiet", "--variant=minbase", &include, hook, "bookworm", text(&root)];
    run("mmdebstrap", &arguments);
    let disk = directory.join("disk.img");
    File::create(&disk).unwrap().set_len(1 << 30).unwrap();
    run("/usr/sbin/mkfs.ext4", &["-q", "-F", "-d", text(&root), text(&disk)]);
}

#[test]
fn a_debian_root_boots_to_a_login_prompt_and_its_power_off_ends_the_process() {
    if !soak() {
        say("SKIPPED: a whole Debian on a disk is part of make soak");
        return;
    }
    if !find_program("mmdebstrap") || !nix::unistd::geteuid().is_root() {
        say("SKIPPED: a Debian root is made by mmdebstrap, and by root (make soak installs it)");
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    make(directory.path());
    let path = |name: &str| directory.path().join(name);
    in_emulation(&"a Debian root", || {
        let mut command = testbed::duplex(testbed::shared());
        command
            .args(["boot", "--kernel", text(&path("root/vmlinuz"))])
            .args(["--initrd", text(&path("root/initrd.img")), "--memory", "512M", "--rng"])
            .args(["--cmdline", CMDLINE])
            .args(["--disk", text(&path("disk.img"))]);
        let mut terminal = Terminal::start(&mut command);
        for (prompt, answer) in [("login: ", "root\n"), ("# ", "systemctl poweroff\n")] {
            terminal.wait_for(prompt);
            terminal.type_in(answer.as_bytes());
        }
        terminal.wait_for("Power down");
        assert_eq!(terminal.end().code(), Some(0));
    });
}
