//! Where programs are.

use std::ffi::OsStr;
use std::fs;
use std::io::{self, ErrorKind};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// Finds a program as execvp(3) does: by its path, or along `PATH`.
///
/// # Errors
/// `NotFound` when there is none; `PermissionDenied` when there is a file of that name, but none
/// that can be executed.
pub(crate) fn find_program(name: &OsStr, search: Option<&OsStr>) -> io::Result<PathBuf> {
    if name.is_empty() {
        return Err(ErrorKind::NotFound.into());
    }
    if name.as_bytes().contains(&b'/') {
        let path = std::path::absolute(name)?;
        return executable(&path).map(|()| path);
    }
    let default = OsStr::new("/bin:/usr/bin");
    let mut result = ErrorKind::NotFound;
    for directory in std::env::split_paths(search.unwrap_or(default)) {
        let path = std::path::absolute(directory.join(name))?;
        match executable(&path) {
            Ok(()) => return Ok(path),
            Err(error) if error.kind() == ErrorKind::PermissionDenied => result = error.kind(),
            Err(_) => {}
        }
    }
    Err(result.into())
}

/// A program of this host's: by its path, or along this process's `PATH`.
pub fn installed_program(name: &str) -> Option<PathBuf> {
    find_program(name.as_ref(), std::env::var_os("PATH").as_deref()).ok()
}

fn executable(path: &Path) -> io::Result<()> {
    let metadata = fs::metadata(path)?;
    if !metadata.is_file() || metadata.permissions().mode() & 0o111 == 0 {
        return Err(ErrorKind::PermissionDenied.into());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_programs_as_a_shell_does() {
        let path = OsStr::new("/nonexistent:/usr/bin:/bin");
        assert_eq!(find_program(OsStr::new("env"), Some(path)).unwrap(), Path::new("/usr/bin/env"));
        let missing = find_program(OsStr::new("no-such-program"), Some(path)).unwrap_err();
        assert_eq!(missing.kind(), ErrorKind::NotFound);
        let plain = find_program(OsStr::new("/etc/passwd"), None).unwrap_err();
        assert_eq!(plain.kind(), ErrorKind::PermissionDenied);
    }
}
