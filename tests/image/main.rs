//! Images: what honest programs make is imported as it is, and what is made to do harm is refused.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod cli;
#[path = "../common/mod.rs"]
mod common;
mod hostile_layers;
mod hostile_layouts;
mod hostile_tarballs;
mod layers;
mod layout;
#[path = "../samples/mod.rs"]
mod samples;
mod tarball;
mod tools;
mod yard;
