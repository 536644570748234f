//! A session's root: the host's file system below, memory on top.
//!
//! Each session has a union of its own. What its command writes ends with it, and the union starts
//! with a fresh look at the host: overlayfs never notices that a file below it was replaced or
//! came into being, and one union for all sessions would show each the past of the others.

use std::fs;

use nix::mount::{MsFlags, mount};
use nix::unistd::{chdir, pivot_root};

use super::super::HOST;
use crate::failure::{Failure, Step};
use crate::isolate;
use crate::isolate::mounting::{INERT, bring_along, make_directories, put};
use crate::testbed::agent::command_line::on_command_line;
use crate::testbed::protocol::FORGET;

/// Built in a mount of the session's own, for /run is shared.
const MEMORY: &str = "/run/duplex/session";

/// Builds the root and moves the session's process into it.
pub(super) fn enter() -> Result<(), Failure> {
    mount(None::<&str>, "/", None::<&str>, MsFlags::MS_PRIVATE | MsFlags::MS_REC, None::<&str>)
        .step("make the session's mounts private")?;
    put("proc", "proc", "/proc", INERT | MsFlags::MS_NOEXEC, "")?;
    if on_command_line(FORGET)? {
        // Names and attributes of files that nobody uses: they are looked up anew.
        fs::write("/proc/sys/vm/drop_caches", "2").step("forget the host's files")?;
    }
    make_directories(MEMORY, &[""])?;
    put("tmpfs", "tmpfs", MEMORY, MsFlags::empty(), "mode=0755")?;
    make_directories(MEMORY, &["upper", "work", "root"])?;
    let root = format!("{MEMORY}/root");
    let layers = format!("lowerdir={HOST},upperdir={MEMORY}/upper,workdir={MEMORY}/work");
    put("overlay", "overlay", &root, MsFlags::empty(), &layers)?;
    // The host's view leaves these out, and a disk image may lack them altogether.
    make_directories(&root, &["proc", "sys", "dev", "run", "tmp"])?;
    for tree in ["/proc", "/sys", "/dev"] {
        bring_along(tree, &format!("{root}{tree}"))?;
    }
    chdir(root.as_str()).step("enter the session's root")?;
    // Last, for the directory we stand in is below it.
    bring_along("/run", "run")?;
    // Stacked on the same place, so that no directory for the old root is needed.
    pivot_root(".", ".").step("change to the session's root")?;
    isolate::detach(".".as_ref()).step("leave the old root")?;
    isolate::detach(MEMORY.as_ref()).step("hide the session's memory")?;
    chdir("/").step("enter the root")
}
