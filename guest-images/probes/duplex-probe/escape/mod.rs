//! Attempts to get out of a container or a guest, each by its name: `duplex-probe escape NAME`. One that got out says
//! so, with a proof, and exits with 0; one that did not says what held it, and exits with 1. None does
//! more than that: nothing is changed outside, or not for good.
//!
//! What an attempt has to know of the outside (where a marker is, at which port somebody listens) it
//! finds in the environment. `escape target DIRECTORY` is that outside: it makes what the others are
//! after, prints the facts as `NAME=VALUE`, then `ready`, and lives until its input ends. `escape list`
//! prints the names of all attempts. `escape all NAME=VALUE…` tries all that need nothing but these facts,
//! and prints one line of JSON with what came of it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout)]
#![allow(clippy::undocumented_unsafe_blocks, clippy::cast_sign_loss)]

mod all;
mod files;
mod kernel;
mod mounts;
mod network;
mod processes;
mod shared;
mod system;
mod target;

use std::os::unix::process::CommandExt;
use std::process::{Command, ExitCode};

use system::{Got, called, text};

/// An attempt, and what it is about.
type Attempt = (&'static str, fn() -> Got);

fn attempts() -> impl Iterator<Item = &'static Attempt> {
    [
        files::ATTEMPTS,
        mounts::ATTEMPTS,
        processes::ATTEMPTS,
        kernel::ATTEMPTS,
        network::ATTEMPTS,
        shared::ATTEMPTS,
    ]
    .into_iter()
    .flatten()
}

/// Does what these arguments say.
pub(crate) fn run(arguments: &[&str]) -> ExitCode {
    match *arguments {
        ["list"] => attempts().for_each(|(name, _)| println!("{name}")),
        ["all", ref facts @ ..] => println!("{}", all::tried(facts)),
        ["target", directory] => target::live(directory.as_ref()),
        ["swap", directory, outside] => mounts::swap(directory, outside),
        ["who"] => print!("{}", nix::unistd::geteuid()),
        ["in-root-only", root, ref command @ ..] => in_root_only(root, command),
        [name] => return attempt(name),
        _ => return 2.into(),
    }
    ExitCode::SUCCESS
}

fn attempt(name: &str) -> ExitCode {
    let Some((_, attempt)) = attempts().find(|(known, _)| *known == name) else {
        return 2.into();
    };
    match attempt() {
        Ok(proof) => {
            println!("out: {proof}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            println!("held: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Executes a command with another root, but stays in the directory where it is: what a careless
/// program does. For controls.
fn in_root_only(root: &str, command: &[&str]) {
    called(unsafe { libc::chroot(text(root).as_ptr()) }.into()).expect("chroot");
    panic!("{}", Command::new(command[0]).args(&command[1..]).exec());
}

/// What the outside has, as `target` printed it.
mod facts {
    /// A file outside, with [`CONTENT`] in it.
    pub(crate) const MARKER: &str = "MARKER";
    /// A handle of it, as hexadecimal digits; empty where the file system has none.
    pub(crate) const HANDLE: &str = "HANDLE";
    /// An abstract Unix socket; whoever connects is handed a descriptor of the marker's directory.
    pub(crate) const SOCKET: &str = "SOCKET";
    /// A TCP port of the loopback interface.
    pub(crate) const PORT: &str = "PORT";
    /// A network interface.
    pub(crate) const INTERFACE: &str = "INTERFACE";
    /// A disk's device number.
    pub(crate) const DISK: &str = "DISK";
    /// A process.
    pub(crate) const PID: &str = "PID";
    /// Where that process has [`CONTENT`] in its memory.
    pub(crate) const ADDRESS: &str = "ADDRESS";
    /// What a key, a segment of shared memory, a message queue and a file in /dev/shm go by.
    pub(crate) const NAME: &str = "NAME";
    /// A host name.
    pub(crate) const HOST: &str = "HOST";

    /// What is in the marker, and elsewhere.
    pub(crate) const CONTENT: &str = "what is outside";
}
