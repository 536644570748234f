//! Groups in groups. Who may make some below their own may nest them deeper than a path is long, so
//! the way leads through open directories, and only one at a time.

use std::ffi::{CStr, CString};
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use nix::dir::{Dir, Type};
use nix::errno::Errno;
use nix::fcntl::{OFlag, open, openat};
use nix::sys::stat::Mode;
use nix::unistd::{Pid, UnlinkatFlags, unlinkat};

use super::files::{gone, is_gone};

/// The processes of a group and of those below it, as far as they are visible from here.
pub(super) fn processes(group: &Path) -> io::Result<Vec<Pid>> {
    let mut pids = Vec::new();
    match directory(group) {
        Err(error) if is_gone(&error) => return Ok(pids),
        Err(error) => return Err(error),
        Ok(top) => gone(add_processes(top.as_fd(), &mut pids))?,
    }
    each_below(group, &mut |parent, name| {
        let group = openat(parent, name, DIRECTORY, Mode::empty())?;
        gone(add_processes(group.as_fd(), &mut pids))
    })?;
    Ok(pids)
}

/// Removes the groups below this one. One that has processes stays, and those it is in.
pub(super) fn remove_below(group: &Path) -> io::Result<()> {
    each_below(group, &mut |parent, name| match unlinkat(parent, name, UnlinkatFlags::RemoveDir) {
        Err(Errno::EBUSY | Errno::ENOTEMPTY) | Ok(()) => Ok(()),
        Err(error) => Err(error.into()),
    })
}

const DIRECTORY: OFlag =
    OFlag::O_RDONLY.union(OFlag::O_DIRECTORY).union(OFlag::O_NOFOLLOW).union(OFlag::O_CLOEXEC);

fn directory(path: &Path) -> io::Result<OwnedFd> {
    Ok(open(path, DIRECTORY, Mode::empty())?)
}

fn add_processes(group: BorrowedFd<'_>, pids: &mut Vec<Pid>) -> io::Result<()> {
    let flags = OFlag::O_RDONLY | OFlag::O_CLOEXEC;
    let mut text = String::new();
    File::from(openat(group, c"cgroup.procs", flags, Mode::empty())?).read_to_string(&mut text)?;
    // Processes of other PID namespaces show as 0.
    let numbers = text.lines().filter_map(|line| line.parse().ok()).filter(|pid| *pid > 0);
    pids.extend(numbers.map(Pid::from_raw));
    Ok(())
}

/// Visits all groups below one, each after those below itself, with the directory that it is in.
fn each_below(
    top: &Path,
    visit: &mut dyn FnMut(BorrowedFd<'_>, &CStr) -> io::Result<()>,
) -> io::Result<()> {
    let mut here = match directory(top) {
        Err(error) if is_gone(&error) => return Ok(()),
        other => other?,
    };
    // For each level the groups that are still to be visited, and the name of the level itself.
    let mut waiting = vec![children(here.as_fd())?];
    let mut way: Vec<CString> = Vec::new();
    while let Some(level) = waiting.last_mut() {
        if let Some(name) = level.pop() {
            match openat(&here, name.as_c_str(), DIRECTORY, Mode::empty()) {
                Ok(child) => {
                    waiting.push(children(child.as_fd())?);
                    way.push(name);
                    here = child;
                }
                Err(Errno::ENOENT | Errno::ENODEV) => {}
                Err(error) => return Err(error.into()),
            }
        } else {
            waiting.pop();
            let Some(name) = way.pop() else { break };
            here = openat(&here, c"..", DIRECTORY, Mode::empty())?;
            gone(visit(here.as_fd(), &name))?;
        }
    }
    Ok(())
}

fn children(group: BorrowedFd<'_>) -> io::Result<Vec<CString>> {
    let mut names = Vec::new();
    let mut entries = match Dir::openat(group, c".", DIRECTORY, Mode::empty()) {
        Err(Errno::ENOENT | Errno::ENODEV) => return Ok(names),
        other => other?,
    };
    for entry in entries.iter() {
        let entry = entry?;
        let name = entry.file_name();
        if entry.file_type() == Some(Type::Directory) && name != c"." && name != c".." {
            names.push(name.to_owned());
        }
    }
    Ok(names)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn nested_deeper_than_a_path_is_long() {
        let place = tempfile::tempdir().unwrap();
        let top = place.path().join("top");
        fs::create_dir(&top).unwrap();
        let name = CString::new("n".repeat(200)).unwrap();
        let mut here = directory(&top).unwrap();
        for _ in 0..100 {
            nix::sys::stat::mkdirat(&here, name.as_c_str(), Mode::S_IRWXU).unwrap();
            nix::sys::stat::mkdirat(&here, c"other", Mode::S_IRWXU).unwrap();
            here = openat(&here, name.as_c_str(), DIRECTORY, Mode::empty()).unwrap();
        }
        let mut count = 0;
        each_below(&top, &mut |_, _| {
            count += 1;
            Ok(())
        })
        .unwrap();
        assert_eq!(count, 200);
        remove_below(&top).unwrap();
        assert_eq!(fs::read_dir(&top).unwrap().count(), 0);
        remove_below(&place.path().join("nothing")).unwrap();
    }
}
