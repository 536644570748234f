//! Traces: what is recorded, what is shown of it, what others can read, and hostile files.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "../common/mod.rs"]
mod common;
mod container;
mod exported;
mod fixture;
#[path = "../../fuzz/trace.rs"]
mod fuzz;
mod golden;
mod hostile;
mod kept;
mod linux;
mod live;
mod recorded;
#[path = "../samples/mod.rs"]
mod samples;
mod viewer;
