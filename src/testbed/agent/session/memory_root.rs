//! A root in memory for counted commands.
//!
//! On the instruction clock, waiting for the host's file system would make the time jump: the idle
//! machine's clock goes straight to its next timer. So everything the command needs is copied
//! first: its program with libraries, and the files it named. It finds nothing else there.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use nix::mount::MsFlags;
use nix::unistd::{chdir, pivot_root};

use crate::failure::{Failure, Step};
use crate::host::find_program;
use crate::isolate;
use crate::testbed::closure::files_to_run;
use crate::testbed::protocol::{PROGRAM, Start};
use crate::testbed::replica::Replica;

const ROOT: &str = "/run/duplex/memory";

/// Trees that are in memory anyway, and shared with the testbed.
const KEPT: [&str; 3] = ["/proc", "/sys", "/dev"];

/// Builds the root and moves the session into it.
pub(super) fn enter(start: &Start) -> Result<(), Failure> {
    std::fs::create_dir_all(ROOT).step("make the root in memory")?;
    isolate::tmpfs_with(Path::new(ROOT), MsFlags::empty(), "mode=0755")
        .step("mount the root in memory")?;
    let replica = Replica::new(ROOT);
    fill(&replica, start)?;
    for path in KEPT {
        let inside = replica.inside(Path::new(path));
        std::fs::create_dir_all(&inside).step_with(|| format!("make {path}"))?;
        isolate::bind(Path::new(path), &inside).step_with(|| format!("bring {path} along"))?;
    }
    for written in start.mounts.iter().filter(|mount| mount.write) {
        let inside = replica.inside(&written.at);
        isolate::bind(&written.at, &inside)
            .step_with(|| format!("bring {} along", written.at.display()))?;
    }
    chdir(ROOT).step("enter the root in memory")?;
    // Stacked on the same place, so that no directory for the old root is needed.
    pivot_root(".", ".").step("change to the root in memory")?;
    isolate::detach(Path::new(".")).step("leave the old root")?;
    chdir("/").step("enter the root in memory")
}

fn fill(replica: &Replica, start: &Start) -> Result<(), Failure> {
    std::env::set_current_dir(&start.invocation.cwd).step("enter the working directory")?;
    for program in programs(start) {
        let files = files_to_run(&program, &start.invocation.env)
            .step_with(|| format!("find what {} needs", program.display()))?;
        files.iter().try_for_each(|file| copy(replica, file))?;
    }
    for mount in &start.mounts {
        if mount.write {
            make_place(replica, &mount.at)?;
        } else {
            copy(replica, &mount.at)?;
        }
    }
    copy(replica, Path::new(PROGRAM))?;
    for account_file in ["/etc/passwd", "/etc/group"].map(Path::new) {
        if account_file.exists() {
            copy(replica, account_file)?;
        }
    }
    for directory in [&*start.invocation.cwd, Path::new("/tmp"), Path::new("/run")] {
        replica
            .add_directory(directory)
            .step_with(|| format!("make {} in memory", directory.display()))?;
    }
    Ok(())
}

/// The command's program, and whatever else on its command line, or named as its input, is one:
/// `unshare -m /bin/echo` runs two. What can't be found is reported when it is to be started, like
/// everywhere.
fn programs(start: &Start) -> BTreeSet<PathBuf> {
    let search = start.invocation.env.iter().find(|(name, _)| name == OsStr::new("PATH"));
    let first = start.invocation.argv.first();
    let first = first.and_then(|name| find_program(name, search.map(|(_, path)| &**path)).ok());
    let rest = start.invocation.argv.iter().skip(1).filter(|word| word.as_bytes().contains(&b'/'));
    let named = start.mounts.iter().map(|mount| mount.at.as_os_str());
    let others = rest.map(|word| &**word).chain(named);
    first.into_iter().chain(others.filter_map(|word| find_program(word, None).ok())).collect()
}

fn copy(replica: &Replica, path: &Path) -> Result<(), Failure> {
    replica.add(path).step_with(|| format!("copy {} into memory", path.display()))
}

/// Only a place for what is mounted there later: what is written goes to the host.
fn make_place(replica: &Replica, path: &Path) -> Result<(), Failure> {
    let directory = path.is_dir();
    let parent = if directory { path } else { path.parent().unwrap_or(path) };
    replica.add_directory(parent).step_with(|| format!("make {}", parent.display()))?;
    if !directory {
        std::fs::write(replica.inside(path), "")
            .step_with(|| format!("make {}", path.display()))?;
    }
    Ok(())
}
