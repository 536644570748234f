//! The testbed: an emulated machine with hardware virtualization, for hosts that have none.
//!
//! ```text
//!   host                                        │ emulated machine (QEMU, TCG, AMD-V)
//!                                               │
//!   client ── control socket ──► keeper         │
//!     │                          ├ virtiofsd ───┼─► root: the host's files, read-only, memory on top
//!     │                          ├ virtiofsd ───┼─► files that commands name
//!     │                          └ QEMU ────────┼─► agent (PID 1)
//!     └── a session's port ─────────────────────┼───► session ─► command
//! ```
//!
//! All of it is this one program. The *client* is the command that the user started: it finds or
//! starts a testbed and becomes a stand-in for the command that runs there, with its streams,
//! signals and exit status. The *keeper* owns one machine and everything that has to vanish with
//! it. The *agent* is /init of the machine.
//!
//! There are two kinds of machine: the normal one, and the counting one, whose clock advances by a
//! nanosecond an instruction ([`Clock::Instructions`]).
//!
//! See docs/testbed.md for how to use it, and what the walls are made of.

mod agent;
mod client;
mod closure;
mod control;
mod error;
mod files;
mod image;
mod initramfs;
mod keeper;
mod lasting;
mod launch;
mod model;
mod places;
mod protocol;
mod replica;
mod scratch;

pub use crate::failure::Failure;
pub use agent::{agent, session};
pub use client::run;
pub(crate) use closure::files_to_run;
pub use error::Error;
pub use keeper::main as keeper;
pub use lasting::{start, start_and_stay, status, stays, stop};
pub use model::{Clock, Counts, Machine, Outcome, Session};
pub use protocol::{PROGRAM, Status};
