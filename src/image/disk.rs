//! The disk of a root: a directory becomes an ext4 file system in a file, once. It is kept in the cache
//! under a [digest of the tree](super::tree), and made anew when anything in the directory has changed.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::{ext4, tree};
use crate::guest_images::{self, Cache, Digest, Progress, Recipe};

/// The file system's name in its cache entry.
const DISK: &str = "root.ext4";

/// Why there is no disk for an image.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// There is nothing of that name.
    #[error("image {}: {reason}; name a directory with a root file system", path.display())]
    NoImage {
        /// As given.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// A file in it can't be read.
    #[error("image: cannot {action} {}: {source}; an image is read with your permissions", path.display())]
    Unreadable {
        /// What was tried.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// The system's answer.
        source: std::io::Error,
    },
    /// It is being written to.
    #[error(
        "image {}: it changed while it was read; run again when nobody writes to it", .0.display()
    )]
    Changing(PathBuf),
    /// The file system could not be made.
    #[error(transparent)]
    FileSystem(#[from] ext4::Error),
    /// The cache can't be used.
    #[error(transparent)]
    Cache(#[from] guest_images::Error),
}

/// The disk of the image at `source`, a directory: the one made before, or a new one. It must only
/// be read. Of each source one is kept, the newest; a guest that has an older one open goes on.
///
/// # Errors
/// Naming the file that it was about, and what to do.
pub fn disk(cache: &Cache, source: &Path) -> Result<PathBuf, Error> {
    let refused = |reason: String| Error::NoImage { path: source.to_path_buf(), reason };
    let directory = fs::canonicalize(source).map_err(|error| refused(error.to_string()))?;
    if !directory.is_dir() {
        return Err(refused("it is no directory".into()));
    }
    let kind = kind(&directory);
    let digest = tree::digest(&directory)?;
    let recipe = Recipe { kind: kind.clone(), digest: Digest::new().part(digest.to_le_bytes()) };
    if let Some(entry) = cache.find(recipe.clone()) {
        return Ok(entry.join(DISK));
    }
    let progress = Progress::new("making a disk of the image");
    progress.step(&directory.display().to_string());
    let entry = cache.entry(recipe, &progress, |entry| -> Result<(), Error> {
        let path = entry.join(DISK);
        let file = File::create_new(&path).map_err(unreadable("create", &path))?;
        ext4::make(&directory, &file)?;
        // Otherwise the disk would be one thing, and its name that of another.
        let unchanged = tree::digest(&directory)? == digest;
        if unchanged { Ok(()) } else { Err(Error::Changing(directory.clone())) }
    })?;
    cache.keep_only(&kind, &entry, Duration::ZERO);
    Ok(entry.join(DISK))
}

/// Removes the disk of an image that is gone, if there is one. A guest that has it open goes on.
pub fn forget(cache: &Cache, directory: &Path) {
    cache.keep_only(&kind(directory), Path::new(""), Duration::ZERO);
}

/// What disks of this directory are called in the cache.
fn kind(directory: &Path) -> String {
    let source = Digest::new().part(directory.as_os_str().as_encoded_bytes()).name();
    format!("image-{source}")
}

/// For `map_err`: a failed file operation.
pub(super) fn unreadable(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Error {
    let path = path.to_path_buf();
    move |source| Error::Unreadable { action, path, source }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt, symlink};
    use std::process::Command;

    /// What debugfs says to a request about the file system.
    fn debugfs(disk: &Path, request: &str) -> String {
        let output = Command::new("/sbin/debugfs").args(["-R", request]).arg(disk).output();
        String::from_utf8(output.unwrap().stdout).unwrap()
    }

    #[test]
    fn a_disk_is_what_the_directory_is() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().join("root");
        fs::create_dir_all(root.join("bin")).unwrap();
        fs::write(root.join("bin/tool"), "content").unwrap();
        fs::set_permissions(root.join("bin/tool"), fs::Permissions::from_mode(0o4751)).unwrap();
        fs::hard_link(root.join("bin/tool"), root.join("bin/other")).unwrap();
        symlink("bin/tool", root.join("link")).unwrap();
        let sparse = File::create(root.join("sparse")).unwrap();
        sparse.set_len(64 << 20).unwrap();
        sparse.write_all_at(b"end", (64 << 20) - 3).unwrap();
        fs::set_permissions(&root, fs::Permissions::from_mode(0o1751)).unwrap();
        let cache = Cache::open_at(dir.path().join("cache")).unwrap();
        let path = disk(&cache, &root).unwrap();
        assert_eq!(disk(&cache, &root).unwrap(), path);

        let tool = debugfs(&path, "stat /bin/tool");
        assert!(tool.contains("Mode:  04751") && tool.contains("Links: 2"), "{tool}");
        let owner = fs::metadata(root.join("bin/tool")).unwrap().uid();
        assert!(tool.contains(&format!("User: {owner:5}")), "{tool}");
        assert!(debugfs(&path, "stat /").contains("Mode:  01751"));
        assert_eq!(debugfs(&path, "cat /bin/other"), "content");
        assert!(debugfs(&path, "stat /link").contains("Fast link dest: \"bin/tool\""));
        assert!(!debugfs(&path, "ls -p /").contains("lost+found"));
        // Its holes are holes in the image too.
        assert!(fs::metadata(&path).unwrap().blocks() * 512 < 8 << 20);

        // A change makes a new one, in place of the old.
        fs::write(root.join("new"), "").unwrap();
        let changed = disk(&cache, &root).unwrap();
        assert_ne!(changed, path);
        assert!(!path.exists());
    }

    #[test]
    fn what_is_no_image_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let cache = Cache::open_at(dir.path().join("cache")).unwrap();
        let missing = disk(&cache, &dir.path().join("missing")).unwrap_err().to_string();
        assert!(missing.contains("missing: No such file") && missing.contains("name a directory"));
        let file = dir.path().join("file");
        fs::write(&file, "").unwrap();
        assert!(disk(&cache, &file).unwrap_err().to_string().contains("no directory"));
    }
}
