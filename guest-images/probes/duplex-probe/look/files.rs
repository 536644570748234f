//! Device nodes and switches of the kernel that could be opened. None is: to open a watchdog is to start it.

use std::ffi::CString;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};

use crate::system::called;

/// The most files of a tree that are looked at.
const MOST: usize = 50_000;

/// Files that the kernel is told by.
#[derive(Default)]
pub(super) struct Found {
    pub(super) seen: usize,
    pub(super) writable: usize,
}

/// The device nodes below /dev that this process may open for reading or writing.
pub(super) fn devices() -> Vec<String> {
    let mut found = Vec::new();
    walk(Path::new("/dev"), MOST, &mut |path, kind| {
        let is_device = kind.is_char_device() || kind.is_block_device();
        if is_device && !lacks_devices(path) && (may(path, libc::R_OK) || may(path, libc::W_OK)) {
            found.push(path.display().to_string());
        }
    });
    found.sort();
    found
}

/// How many files there are in a tree, and how many this process may write to.
pub(super) fn writable(tree: &Path) -> Found {
    let mut found = Found::default();
    walk(tree, MOST, &mut |path, kind| {
        if kind.is_file() {
            found.seen += 1;
            found.writable += usize::from(may(path, libc::W_OK));
        }
    });
    found
}

/// Shows all files below a directory, in no order, and follows no link.
fn walk(directory: &Path, most: usize, show: &mut impl FnMut(&Path, fs::FileType)) {
    let mut left = most;
    let mut directories = vec![directory.to_owned()];
    while let Some(directory) = directories.pop() {
        let entries = fs::read_dir(directory).into_iter().flatten().flatten();
        for entry in entries {
            // Not as the directory has it: something else may be mounted there.
            let Ok(kind) = entry.metadata().map(|node| node.file_type()) else { continue };
            if left == 0 {
                return;
            }
            left -= 1;
            let path: PathBuf = entry.path();
            show(&path, kind);
            if kind.is_dir() {
                directories.push(path);
            }
        }
    }
}

/// Whether opening it so would be permitted: by its mode, its mount, and the control group of devices.
fn may(path: &Path, access: libc::c_int) -> bool {
    let Ok(path) = CString::new(path.as_os_str().as_bytes()) else { return false };
    // SAFETY: a string that ends with a zero.
    let asked = unsafe { libc::faccessat(libc::AT_FDCWD, path.as_ptr(), access, libc::AT_EACCESS) };
    called(asked).is_ok()
}

/// Whether it lies in a mount whose device nodes are no devices.
fn lacks_devices(path: &Path) -> bool {
    let Ok(path) = CString::new(path.as_os_str().as_bytes()) else { return true };
    // SAFETY: zeroes are a value of it; a string that ends with a zero.
    unsafe {
        let mut found: libc::statvfs = std::mem::zeroed();
        libc::statvfs(path.as_ptr(), &raw mut found) != 0 || found.f_flag & libc::ST_NODEV != 0
    }
}
