//! A whole Debian: on a disk with its own kernel and initrd, where systemd comes up, somebody logs in
//! and powers it off; and as an image for `duplex run`.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use crate::common::process::Process;
use crate::common::terminal::Terminal;
use crate::common::{empty_directory, find_program, say, soak, testbed, text};
use crate::guest::in_emulation;

/// What a root needs beyond Debian's essential packages to boot by itself.
const PACKAGES: &str = "systemd-sysv,udev,login,linux-image-cloud-amd64,initramfs-tools";

/// An emulated machine takes longer for some devices than the 90 s that systemd waits for them.
const CMDLINE: &str = "console=ttyS0 root=/dev/vda rw systemd.default_timeout_start_sec=1800";

fn run(program: &str, arguments: &[&str]) {
    let status = Command::new(program).args(arguments).status().unwrap();
    assert!(status.success(), "{program} {arguments:?}: {status}");
}

/// The root, made once; none where that cannot be done, which is said.
fn root() -> Option<&'static Path> {
    static ROOT: OnceLock<PathBuf> = OnceLock::new();
    if !soak() {
        say("SKIPPED: a whole Debian on a disk is part of make soak");
        return None;
    }
    if !find_program("mmdebstrap") || !nix::unistd::geteuid().is_root() {
        say("SKIPPED: a Debian root is made by mmdebstrap, and by root (make soak installs it)");
        return None;
    }
    let make = || {
        let directory = empty_directory("debian-root");
        let include = format!("--include={PACKAGES}");
        let hook = "--customize-hook=chroot \"$1\" passwd -d root";
        let options = ["--quiet", "--variant=minbase", &include, hook, "bookworm"];
        run("mmdebstrap", &[&options[..], &[text(&directory)]].concat());
        directory
    };
    Some(ROOT.get_or_init(make))
}

#[test]
fn a_debian_root_boots_to_a_login_prompt_and_its_power_off_ends_the_process() {
    let Some(root) = root() else { return };
    let disk = tempfile::NamedTempFile::new().unwrap();
    disk.as_file().set_len(1 << 30).unwrap();
    run("/usr/sbin/mkfs.ext4", &["-q", "-F", "-d", text(root), text(disk.path())]);
    in_emulation(&"a Debian root", || {
        let mut command = testbed::duplex(testbed::shared());
        command
            .args(["boot", "--kernel", text(&root.join("vmlinuz"))])
            .args(["--initrd", text(&root.join("initrd.img")), "--memory", "512M", "--rng"])
            .args(["--cmdline", CMDLINE])
            .args(["--disk", text(disk.path())]);
        let mut terminal = Terminal::start(&mut command);
        for (prompt, answer) in [("login: ", "root\n"), ("# ", "systemctl poweroff\n")] {
            terminal.wait_for(prompt);
            terminal.type_in(answer.as_bytes());
        }
        terminal.wait_for("Power down");
        assert_eq!(terminal.end().code(), Some(0));
    });
}

#[test]
fn commands_run_in_a_debian_root() {
    let Some(root) = root() else { return };
    let said = |argv: &[&str]| {
        let mut command = testbed::duplex(testbed::shared());
        command.args(["run", "-u", "nobody", text(root)]).args(argv);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let output = Process::start(&mut command).output();
        (String::from_utf8_lossy(&output.stdout).into_owned(), output.status.code())
    };
    in_emulation(&"commands in a Debian root", || {
        assert_eq!(said(&["echo", "hello"]), ("hello\n".into(), Some(0)));
        assert_eq!(said(&["sh", "-c", "exit 7"]).1, Some(7));
        assert_eq!(said(&["nonesuch"]).1, Some(127));
        assert_eq!(said(&["/etc/passwd"]).1, Some(126));
        assert_eq!(said(&["bash", "-c", "kill -KILL $$"]).1, Some(137));
        // A program of its own, with the image's libraries.
        let (text, status) = said(&["perl", "-e", "print join(':', (getpwuid $<)[0, 2])"]);
        assert_eq!((text.as_str(), status), ("nobody:65534", Some(0)));
        assert_eq!(said(&["dpkg", "--verify", "libc6"]), (String::new(), Some(0)));
    });
}
