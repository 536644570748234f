//! The method of `duplex bench`, tested against itself: what is known beforehand has to be found.
#![allow(clippy::unwrap_used, missing_docs, clippy::panic, reason = "tests fail by panicking")]

#[path = "../common/mod.rs"]
mod common;

mod command_line;
mod known;
mod real;
mod simulated;
