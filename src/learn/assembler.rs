//! GNU `as`, for source that somebody has changed.

use std::fs::File;
use std::io::{self, Read as _, Seek as _, Write as _};
use std::os::fd::{AsRawFd as _, RawFd};
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::process::{Command, Stdio};

use nix::sys::memfd::{MFdFlags, memfd_create};
use thiserror::Error;

use super::listing::{self, Lines};

/// How long it may take, in seconds of processor time: macros can go on for ever.
const SECONDS: u64 = 2;
/// How much memory it may have, and how large what it writes may be, in bytes.
const MEMORY: u64 = 512 << 20;
const OUTPUT: u64 = 16 << 20;
/// How many of its messages are passed on.
const MESSAGES: usize = 8;

/// What it made of a source.
pub(super) struct Assembled {
    pub(super) object: Vec<u8>,
    pub(super) lines: Lines,
}

/// Why there is none.
#[derive(Debug, Error)]
pub enum Error {
    /// It cannot be started.
    #[error("the assembler `as` cannot be started: {0}; install binutils, or give an object file")]
    Start(#[source] io::Error),
    /// It has refused the source.
    #[error("`as` refuses it:\n{0}")]
    Refused(String),
    /// It took too long, or too much memory.
    #[error("`as` did not finish in {SECONDS} seconds of processor time: a macro without end?")]
    Endless,
    /// No place for its output.
    #[error("what `as` writes cannot be kept: {0}")]
    Files(#[source] io::Error),
}

/// Assembles source text. Nothing is written to disk: nothing can be left behind there.
pub(super) fn assemble(source: &str) -> Result<Assembled, Error> {
    let mut input = memory_file().map_err(Error::Files)?;
    // Without a newline at its end `as` warns of it.
    input.write_all(format!("{source}\n").as_bytes()).map_err(Error::Files)?;
    input.rewind().map_err(Error::Files)?;
    let (mut object, mut list) =
        (memory_file().map_err(Error::Files)?, memory_file().map_err(Error::Files)?);
    let outputs = [object.as_raw_fd(), list.as_raw_fd()];
    let [object_path, list_path] = outputs.map(|fd| format!("/proc/self/fd/{fd}"));
    let mut command = Command::new("as");
    command.args(["--64", "-o", &object_path, &format!("-aln={list_path}"), "-"]);
    command.stdin(Stdio::from(input)).stdout(Stdio::null());
    prepare(&mut command, outputs);
    let output = command.output().map_err(Error::Start)?;
    if output.status.signal().is_some() {
        return Err(Error::Endless);
    }
    if !output.status.success() {
        let messages = String::from_utf8_lossy(&output.stderr);
        let lines = messages.lines().filter(|line| !line.contains("Assembler messages"));
        let lines = lines.map(|line| line.replace("{standard input}:", "line "));
        return Err(Error::Refused(lines.take(MESSAGES).collect::<Vec<_>>().join("\n")));
    }
    let mut assembled = Assembled { object: Vec::new(), lines: Vec::new() };
    object.read_to_end(&mut assembled.object).map_err(Error::Files)?;
    let mut listing = Vec::new();
    list.read_to_end(&mut listing).map_err(Error::Files)?;
    assembled.lines = listing::lines(&String::from_utf8_lossy(&listing));
    Ok(assembled)
}

fn memory_file() -> io::Result<File> {
    Ok(File::from(memfd_create(c"guest", MFdFlags::MFD_CLOEXEC)?))
}

/// Gives the child its two outputs, and bounds what it may use.
fn prepare(command: &mut Command, outputs: [RawFd; 2]) {
    let set = move || {
        for fd in outputs {
            // SAFETY: a plain system call on a descriptor that is open in the child, too.
            if unsafe { libc::fcntl(fd, libc::F_SETFD, 0) } != 0 {
                return Err(io::Error::last_os_error());
            }
        }
        for (resource, most) in [
            (libc::RLIMIT_CPU, SECONDS),
            (libc::RLIMIT_AS, MEMORY),
            (libc::RLIMIT_FSIZE, OUTPUT),
            (libc::RLIMIT_CORE, 0),
        ] {
            let limit = libc::rlimit { rlim_cur: most, rlim_max: most };
            // SAFETY: a plain system call that reads a live value.
            if unsafe { libc::setrlimit(resource, &raw const limit) } != 0 {
                return Err(io::Error::last_os_error());
            }
        }
        Ok(())
    };
    // SAFETY: between fork and exec only fcntl and setrlimit are called, which may be.
    unsafe { command.pre_exec(set) };
}
