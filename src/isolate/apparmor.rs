//! AppArmor: a profile for commands in containers, apparmor(7), where the kernel has that enabled.

use std::fs;
use std::io::{self, Write};
use std::process::{Command, Stdio};
use std::thread;

use nix::errno::Errno;
use nix::fcntl::{OFlag, open};
use nix::sys::stat::Mode;
use nix::sys::statfs::{PROC_SUPER_MAGIC, fstatfs};
use nix::unistd::write;

use crate::host::find_program;

/// The profile's name, by which the kernel knows it.
pub const PROFILE: &str = "duplex-default";

/// The profile in AppArmor's language.
const TEXT: &str = include_str!("apparmor/duplex-default");

/// The program that compiles profiles and hands them to the kernel.
const PARSER: &str = "apparmor_parser";

/// The profile can't be loaded.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The program did not run.
    #[error(
        "cannot run {PARSER} to load the profile {PROFILE}: {0}; install Debian's package apparmor"
    )]
    Parser(#[source] io::Error),
    /// The program or the kernel refused.
    #[error("{PARSER} could not load the profile {PROFILE} ({status}): {output}; only root can")]
    Refused {
        /// How the program ended.
        status: std::process::ExitStatus,
        /// What it said.
        output: String,
    },
}

/// Whether the running kernel has AppArmor enabled.
pub fn is_enabled() -> bool {
    fs::read_to_string("/sys/module/apparmor/parameters/enabled").is_ok_and(|text| text == "Y\n")
}

/// Loads the profile. It stays until the host goes down: other containers may be in it.
///
/// # Errors
/// When apparmor_parser is not there or not content.
pub fn load() -> Result<(), LoadError> {
    // Where there is none, that is known sooner than by starting it.
    let search = std::env::var_os("PATH");
    let path = find_program(PARSER.as_ref(), search.as_deref()).map_err(LoadError::Parser)?;
    let mut parser = Command::new(path)
        .args(["--replace", "--skip-cache"])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(LoadError::Parser)?;
    // A parser that does not read to the end says why.
    let _ = parser.stdin.take().map(|mut input| input.write_all(TEXT.as_bytes()));
    let end = parser.wait_with_output().map_err(LoadError::Parser)?;
    if end.status.success() {
        return Ok(());
    }
    let output = String::from_utf8_lossy(&end.stderr).trim().to_owned();
    Err(LoadError::Refused { status: end.status, output })
}

/// Sees to it that the profile is loaded.
///
/// # Errors
/// As of [`load`]: only root can.
pub fn provide() -> Result<(), LoadError> {
    if is_usable() { Ok(()) } else { load() }
}

/// Whether the profile is loaded, also for those who cannot see that.
fn is_usable() -> bool {
    // What is to happen at an exec belongs to a thread, and is gone with it.
    thread::spawn(change_at_exec).join().is_ok_and(|changed| changed.is_ok())
}

/// From the next exec on this process is in the profile; works for ordinary users too. Between clone
/// and exec: system calls only.
///
/// # Errors
/// `ENOENT` when the profile is not loaded.
pub fn change_at_exec() -> Result<(), Errno> {
    let attribute = open(
        c"/proc/thread-self/attr/apparmor/exec",
        OFlag::O_WRONLY | OFlag::O_CLOEXEC,
        Mode::empty(),
    )?;
    // What lies there in a container could be the image's.
    if fstatfs(&attribute)?.filesystem_type() != PROC_SUPER_MAGIC {
        return Err(Errno::ENOENT);
    }
    write(&attribute, b"exec duplex-default").map(drop)
}
