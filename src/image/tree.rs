//! What a directory holds, in one number.
//!
//! Not the contents of the files, which would take a second for a Debian root, but what changes with
//! them: each entry's name, type, mode, owner, size, device number, inode number, time of
//! modification, and time of change. The last nobody can set: the kernel does, whenever an inode
//! or what it holds changes, extended attributes included. Copying a directory gives another
//! digest, changing nothing gives the same.

use std::fs::{self, Metadata};
use std::hash::{DefaultHasher, Hasher};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use super::disk::{Error, unreadable};

/// How deep directories may lie in each other.
const DEPTH: usize = 512;

/// The digest of a directory and all below it: 64 bits, against accidents. Another build of duplex may
/// come to another one.
pub(super) fn digest(directory: &Path) -> Result<u64, Error> {
    let metadata = directory.symlink_metadata().map_err(unreadable("look at", directory))?;
    let mut digest = DefaultHasher::new();
    add(&mut digest, &metadata);
    below(directory, &mut digest, DEPTH)?;
    Ok(digest.finish())
}

fn below(directory: &Path, digest: &mut DefaultHasher, depth: usize) -> Result<(), Error> {
    let Some(depth) = depth.checked_sub(1) else {
        let too_deep = io::ErrorKind::InvalidFilename.into();
        return Err(unreadable("follow directories as deep as", directory)(too_deep));
    };
    let list = || fs::read_dir(directory)?.collect::<io::Result<Vec<_>>>();
    let mut entries = list().map_err(unreadable("read", directory))?;
    entries.sort_by_key(fs::DirEntry::file_name);
    // How many there are tells where this directory ends in what is digested.
    digest.write_usize(entries.len());
    for entry in entries {
        let metadata = entry.metadata().map_err(unreadable("look at", &entry.path()))?;
        let name = entry.file_name();
        digest.write_usize(name.len());
        digest.write(name.as_encoded_bytes());
        add(digest, &metadata);
        if metadata.is_dir() {
            below(&entry.path(), digest, depth)?;
        }
    }
    Ok(())
}

fn add(digest: &mut DefaultHasher, entry: &Metadata) {
    let numbers = [
        u64::from(entry.mode()),
        u64::from(entry.uid()),
        u64::from(entry.gid()),
        entry.size(),
        entry.rdev(),
        entry.dev(),
        entry.ino(),
        entry.mtime().cast_unsigned(),
        entry.mtime_nsec().cast_unsigned(),
        entry.ctime().cast_unsigned(),
        entry.ctime_nsec().cast_unsigned(),
    ];
    digest.write(numbers.map(u64::to_le_bytes).as_flattened());
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;
    use std::time::{Duration, SystemTime};

    #[test]
    fn every_change_is_seen() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("a/file");
        fs::create_dir(dir.path().join("a")).unwrap();
        fs::write(&file, "one").unwrap();
        let now = || digest(dir.path()).unwrap();
        let mut seen = vec![now()];
        assert_eq!(seen[0], now());
        // The kernel's clock for files ticks every few milliseconds.
        let tick = || std::thread::sleep(Duration::from_millis(20));
        let mut changed = || {
            assert!(!seen.contains(&now()));
            seen.push(now());
        };
        tick();
        // The same size, and the time of modification set back.
        let modified = fs::metadata(&file).unwrap().modified().unwrap();
        fs::write(&file, "two").unwrap();
        fs::File::open(&file).unwrap().set_modified(modified).unwrap();
        changed();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
        changed();
        fs::rename(&file, dir.path().join("file")).unwrap();
        changed();
        fs::File::open(dir.path()).unwrap().set_modified(SystemTime::UNIX_EPOCH).unwrap();
        changed();
    }
}
