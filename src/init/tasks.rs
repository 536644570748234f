//! How many processes and threads the commands of a guest may have, all together: a control group of the
//! guest's own kernel, cgroups(7).

use std::ffi::{CStr, CString};
use std::fs;
use std::io;

use nix::fcntl::{OFlag, open};
use nix::sys::stat::Mode;
use nix::unistd::write;

use crate::failure::{Failure, Step};

const HIERARCHY: &str = "/sys/fs/cgroup";
const GROUP: &str = "/sys/fs/cgroup/commands";

/// Makes the group; returns where processes enter it.
pub(super) fn limit(most: u64) -> Result<CString, Failure> {
    let write = |file: String, value: &str| {
        fs::write(&file, value).step_with(|| format!("write {value} to {file}"))
    };
    write(format!("{HIERARCHY}/cgroup.subtree_control"), "+pids")?;
    fs::create_dir(GROUP).step_with(|| format!("make {GROUP}"))?;
    write(format!("{GROUP}/pids.max"), &most.to_string())?;
    CString::new(format!("{GROUP}/cgroup.procs")).step("name the group")
}

/// Moves this process there. Between fork and exec: system calls only.
pub(super) fn enter(group: &CStr) -> io::Result<()> {
    let entrance = open(group, OFlag::O_WRONLY | OFlag::O_CLOEXEC, Mode::empty())?;
    write(&entrance, b"0")?;
    Ok(())
}
