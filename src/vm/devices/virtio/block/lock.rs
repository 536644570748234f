//! The lock that keeps two from writing one disk: an open-file-description lock on the whole file.
//! QEMU's image locks are of the same kind, so it and duplex keep each other out as well.

use std::fs::{self, File};
use std::io;

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, fcntl};

/// Locks `file` for as long as it is open, against everybody or, with others, against writers.
/// `false` where somebody has it.
pub(super) fn lock(file: &File, exclusive: bool) -> io::Result<bool> {
    let kind = if exclusive { libc::F_WRLCK } else { libc::F_RDLCK };
    let whole = libc::flock {
        l_type: i16::try_from(kind).unwrap_or_default(),
        l_whence: i16::try_from(libc::SEEK_SET).unwrap_or_default(),
        l_start: 0,
        l_len: 0,
        l_pid: 0,
    };
    match fcntl(file, FcntlArg::F_OFD_SETLK(&whole)) {
        Ok(_) => Ok(true),
        Err(Errno::EAGAIN | Errno::EACCES) => Ok(false),
        // A file system without locks can't protect anybody; QEMU goes on as well.
        Err(Errno::ENOLCK | Errno::EOPNOTSUPP | Errno::ENOSYS) => {
            log::warn!("a disk's file system has no locks: see that nobody else writes to it");
            Ok(true)
        }
        Err(errno) => Err(errno.into()),
    }
}

/// Who may hold a lock on the file with this inode number, as far as /proc shows: " by process 12
/// (qemu-system-x86)", or nothing.
pub(super) fn holders(inode: u64) -> String {
    let wanted = format!(":{inode} ");
    let mut holders = Vec::new();
    for process in fs::read_dir("/proc").into_iter().flatten().flatten() {
        let name = process.file_name();
        let Some(pid) = name.to_str().and_then(|name| name.parse::<u32>().ok()) else { continue };
        let descriptors = fs::read_dir(process.path().join("fdinfo")).into_iter().flatten();
        let holds = descriptors.flatten().any(|descriptor| {
            let info = fs::read_to_string(descriptor.path()).unwrap_or_default();
            info.lines().any(|line| line.starts_with("lock:") && line.contains(&wanted))
        });
        if holds {
            let program = fs::read_to_string(process.path().join("comm")).unwrap_or_default();
            holders.push(match pid == std::process::id() {
                true => "another disk of this guest".to_owned(),
                false => format!("process {pid} ({})", program.trim_end()),
            });
        }
    }
    if holders.is_empty() { String::new() } else { format!(" by {}", holders.join(" and ")) }
}
