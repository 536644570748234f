//! The keeper: the process on the host that owns one testbed.
//!
//! It is PID 1 of a PID namespace in which QEMU and virtiofsd run: when it ends, however that
//! happens, the kernel ends them too. Its mounts are in a namespace of its own and end with it,
//! and so do its sockets, which lie on a tmpfs there. What remains of a killed keeper is one small
//! directory with a free lock, which the next command removes.

mod clients;
mod export;
mod machine;
mod named;
mod notices;
mod ports;
mod qemu;
mod serve;

use std::fs::File;
use std::io;
use std::os::fd::{FromRawFd, OwnedFd, RawFd};
use std::path::PathBuf;
use std::process::ExitCode;

use serde::{Deserialize, Serialize};

use super::model::Machine;
use crate::file_server::Virtiofsd;

/// What a keeper is told on its standard input, as JSON.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Orders {
    /// The instance's directory.
    pub(super) directory: PathBuf,
    /// Which build of duplex the keeper is.
    pub(super) build: String,
    /// The machine to run.
    pub(super) machine: Machine,
    /// The emulator.
    pub(super) qemu: PathBuf,
    /// The file server; none when the root comes from a disk image. With one the keeper has
    /// namespaces of its own, without it must do without them.
    pub(super) virtiofsd: Option<Virtiofsd>,
    /// Whether to end with the process that started it, or else to last.
    pub(super) ephemeral: bool,
}

/// The descriptors that a keeper inherits, in the order of their numbers from 0.
pub(super) struct Inheritance {
    /// [`Orders`], to the end.
    pub(super) orders: OwnedFd,
    /// Twice /dev/null, for standard output and error: a lasting keeper must not hold on to the
    /// pipes and terminals of the command that started it.
    pub(super) output: [OwnedFd; 2],
    /// The socket on which it answers.
    pub(super) listener: OwnedFd,
    /// The instance's lock, held.
    pub(super) lock: OwnedFd,
    /// The kernel, an ELF file.
    pub(super) kernel: OwnedFd,
    /// The initramfs.
    pub(super) initramfs: OwnedFd,
    /// Reads as ended when the process that started the keeper has ended.
    pub(super) lifeline: OwnedFd,
    /// The image that the root comes from, or /dev/null.
    pub(super) disk: OwnedFd,
}

impl Inheritance {
    /// As [`Program::descriptors`](crate::isolate::Program::descriptors) wants them.
    pub(super) fn into_descriptors(self) -> Vec<OwnedFd> {
        let [output, error] = self.output;
        vec![
            self.orders,
            output,
            error,
            self.listener,
            self.lock,
            self.kernel,
            self.initramfs,
            self.lifeline,
            self.disk,
        ]
    }

    /// Takes them over, in the keeper.
    ///
    /// # Safety
    /// Descriptors 0 to 8 must be those that [`into_descriptors`](Self::into_descriptors) listed,
    /// and nothing else in this process may own them.
    unsafe fn take() -> Self {
        // SAFETY: the caller vouches for each number.
        let take = |number: RawFd| unsafe { OwnedFd::from_raw_fd(number) };
        Self {
            orders: take(0),
            output: [take(1), take(2)],
            listener: take(3),
            lock: take(4),
            kernel: take(5),
            initramfs: take(6),
            lifeline: take(7),
            disk: take(8),
        }
    }
}

/// Runs a keeper, in a process that [`launch`](super::launch) started for it.
pub fn main() -> ExitCode {
    match inherit() {
        Ok((orders, inheritance)) => {
            serve::run(orders, inheritance);
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("duplex: `testbed keeper` is started by duplex itself: {error}");
            ExitCode::from(125)
        }
    }
}

fn inherit() -> io::Result<(Orders, Inheritance)> {
    // A person who tries this at a prompt has a terminal or nothing on descriptor 8.
    let last = nix::sys::stat::fstat(
        // SAFETY: only asked what it is; if it is not open, that fails with EBADF.
        unsafe { std::os::fd::BorrowedFd::borrow_raw(8) },
    );
    if last.is_err() {
        return Err(io::Error::other("it inherits descriptors, and they are not there"));
    }
    // SAFETY: this is the start of the program, which has opened nothing yet, and `launch` passed
    // descriptors 0 to 8 in this order.
    let mut inheritance = unsafe { Inheritance::take() };
    let mut orders = File::from(inheritance.orders);
    let parsed = serde_json::from_reader(&mut orders)?;
    inheritance.orders = orders.into();
    Ok((parsed, inheritance))
}
