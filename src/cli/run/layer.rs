//! `--keep`: a file with the writable layer, that stays.

use std::fs::{File, OpenOptions};
use std::io::ErrorKind;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use crate::image::ext4;

/// How much can be written. The file takes the room of what was.
const SIZE: u64 = 16 << 30;

/// The file, made if it is missing.
pub(super) fn file(path: &Path) -> Result<PathBuf, String> {
    let failed = |what: &str, remedy: &str| format!("--keep {}: {what}; {remedy}", path.display());
    let made = OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(path);
    match made {
        Ok(file) => make(&file)
            .inspect_err(|_| drop(std::fs::remove_file(path)))
            .map_err(|e| failed(&e, "see that there is room, or give another file"))?,
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
        Err(error) => {
            return Err(failed(
                &error.to_string(),
                "give a file in a directory that you can write to",
            ));
        }
    }
    let absolute = std::path::absolute(path).map_err(|error| error.to_string())?;
    if absolute.is_file() {
        return Ok(absolute);
    }
    Err(failed("it is no file", "give a file, or a name that is free"))
}

fn make(file: &File) -> Result<(), String> {
    file.set_len(SIZE).map_err(|error| error.to_string())?;
    ext4::make_empty(file).map_err(|error| error.to_string())
}
