//! A root in memory for counted commands.
//!
//! On the instruction clock, waiting for the host's file system would make the time jump: the idle
//! machine's clock goes straight to its next timer. So everything the command needs is copied
//! first: its program with libraries, and the files it named. It finds nothing else there.

use std::ffi::OsStr;
use std::path::Path;

use nix::mount::MsFlags;
use nix::unistd::{chdir, pivot_root};

use super::super::super::closure::{files_to_run, find_program};
use super::super::super::failure::{Failure, Step};
use super::super::super::protocol::Start;
use super::super::super::replica::Replica;
use super::super::PROGRAM;
use crate::isolate;

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
    let copy = |path: &Path| {
        replica.add(path).step_with(|| format!("copy {} into memory", path.display()))
    };
    if let Some(name) = start.argv.first() {
        std::env::set_current_dir(&start.cwd).step("enter the working directory")?;
        let search = start.env.iter().find(|(name, _)| name == OsStr::new("PATH"));
        // One that can't be found is reported when it is started, like everywhere.
        if let Ok(program) = find_program(name, search.map(|(_, path)| &**path)) {
            let files = files_to_run(&program, &start.env)
                .step_with(|| format!("find what {} needs", program.display()))?;
            files.iter().try_for_each(|file| copy(file))?;
        }
    }
    for mount in &start.mounts {
        if mount.write {
            // Only the place: what is written goes to the host.
            let inside = replica.inside(&mount.at);
            let place = if mount.at.is_dir() {
                inside.as_path()
            } else {
                inside.parent().unwrap_or(&inside)
            };
            std::fs::create_dir_all(place).step_with(|| format!("make {}", place.display()))?;
            if !mount.at.is_dir() {
                std::fs::write(&inside, "").step_with(|| format!("make {}", inside.display()))?;
            }
        } else {
            copy(&mount.at)?;
        }
    }
    copy(Path::new(PROGRAM))?;
    for account_file in ["/etc/passwd", "/etc/group"] {
        if Path::new(account_file).exists() {
            copy(Path::new(account_file))?;
        }
    }
    for directory in [&*start.cwd, Path::new("/tmp"), Path::new("/run")] {
        replica
            .add_directory(directory)
            .step_with(|| format!("make {} in memory", directory.display()))?;
    }
    Ok(())
}
