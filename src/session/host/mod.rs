//! The host's side: a stand-in for the command, with the caller's streams and signals.

mod relay;
mod signals;
mod streams;

pub(crate) use relay::{End, Relay, User};
pub(crate) use signals::Signals;
pub(crate) use streams::CallersStreams;
