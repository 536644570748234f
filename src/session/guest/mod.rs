//! The guest's side: the command itself, and who looks after it.
//!
//! The process that does is PID 1, of a PID namespace or of a machine, and leader of a terminal
//! session, like a shell with one job: the command has a process group of its own below it, so
//! that stopping and continuing work as at home.

mod command;
mod identity;
mod observer;
mod port;
mod relay;

pub(crate) use command::{BeforeExec, Command};
pub(crate) use identity::Identity;
pub(crate) use observer::{Observer, Unobserved};
pub(crate) use port::Port;
pub(crate) use relay::{Relay, child_signals, lead_session};
