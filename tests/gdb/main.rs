//! GDB sessions, driven by scripts: on lesson guests on this host's `/dev/kvm`, and on Linux in the testbed.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "../common/mod.rs"]
mod common;
mod hostile;
mod lessons;
mod linux;

use std::process::Command;

use common::{find_program, say};

/// Whether there is a GDB here; says so where there is none.
fn has_gdb() -> bool {
    let there = find_program("gdb");
    if !there {
        say("SKIPPED: gdb is not installed");
    }
    there
}

/// GDB with these commands, each of which must print something of its own to be found by.
fn gdb(commands: &[&str]) -> Command {
    let mut gdb = Command::new("gdb");
    gdb.args(["-nx", "-batch", "-iex", "set auto-load off", "-iex", "set pagination off"]);
    for command in commands {
        gdb.args(["-ex", command]);
    }
    gdb
}
