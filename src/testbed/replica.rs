//! A smaller root with copies of chosen files at the paths they have in the big one.

use std::fs::{self, Metadata};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{FileTypeExt, MetadataExt, lchown, symlink};
use std::path::{Component, Path, PathBuf};

use nix::sys::stat::{Mode, SFlag, mknod};

/// How many symbolic links one path may lead through; Linux allows as many.
const LINKS: usize = 40;

/// A directory that becomes a root.
pub(super) struct Replica {
    root: PathBuf,
}

impl Replica {
    /// Builds below `root`, an empty directory.
    pub(super) fn new(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into() }
    }

    /// Copies the file, or the directory with all that is in it, at this absolute path; with the
    /// directories and symbolic links that lead there, so that the path means the same inside.
    pub(super) fn add(&self, path: &Path) -> io::Result<()> {
        self.lead_to(path, LINKS).map(drop)
    }

    /// Makes this directory (empty), with all that lead there.
    pub(super) fn add_directory(&self, path: &Path) -> io::Result<()> {
        fs::create_dir_all(self.inside(path))
    }

    /// Where an absolute path is in the replica.
    pub(super) fn inside(&self, path: &Path) -> PathBuf {
        self.root.join(path.strip_prefix("/").unwrap_or(path))
    }

    fn lead_to(&self, path: &Path, links: usize) -> io::Result<()> {
        let links = links.checked_sub(1).ok_or(nix::errno::Errno::ELOOP)?;
        let mut here = PathBuf::from("/");
        let mut rest = path.components();
        while let Some(component) = rest.next() {
            match component {
                Component::Normal(name) => here.push(name),
                Component::ParentDir => {
                    here.pop();
                    continue;
                }
                Component::RootDir | Component::CurDir | Component::Prefix(_) => continue,
            }
            let metadata = fs::symlink_metadata(&here)?;
            if metadata.is_symlink() {
                self.copy_entry(&here, &metadata)?;
                here.pop();
                let next =
                    here.join(fs::read_link(path_of(&here, component))?).join(rest.as_path());
                return self.lead_to(&next, links);
            }
            let last = rest.as_path().as_os_str().is_empty();
            if metadata.is_dir() && !last {
                self.copy_directory(&here, &metadata)?;
            } else if last {
                return self.copy_all(&here, &metadata);
            }
        }
        Ok(())
    }

    fn copy_all(&self, path: &Path, metadata: &Metadata) -> io::Result<()> {
        if !metadata.is_dir() {
            return self.copy_entry(path, metadata);
        }
        self.copy_directory(path, metadata)?;
        for entry in fs::read_dir(path)? {
            let entry = entry?;
            self.copy_all(&entry.path(), &entry.metadata()?)?;
        }
        Ok(())
    }

    fn copy_directory(&self, path: &Path, metadata: &Metadata) -> io::Result<()> {
        let to = self.inside(path);
        match fs::create_dir(&to) {
            Ok(()) => own(&to, metadata),
            Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(()),
            Err(error) => Err(error),
        }
    }

    fn copy_entry(&self, path: &Path, metadata: &Metadata) -> io::Result<()> {
        let to = self.inside(path);
        if to.symlink_metadata().is_ok() {
            return Ok(());
        }
        let kind = metadata.file_type();
        if kind.is_symlink() {
            return symlink(fs::read_link(path)?, &to);
        }
        if kind.is_file() {
            fs::copy(path, &to)?;
        } else if kind.is_socket() {
            // Nobody would answer at the copy.
            return Ok(());
        } else {
            let kind = SFlag::from_bits_truncate(metadata.mode() & libc::S_IFMT);
            mknod(&to, kind, Mode::from_bits_truncate(metadata.mode()), metadata.rdev())?;
        }
        own(&to, metadata)
    }
}

fn path_of(directory: &Path, name: Component<'_>) -> PathBuf {
    directory.join(name)
}

/// Owner and rights of the original, as far as we may give them: an ordinary user's copy belongs
/// to that user.
fn own(path: &Path, metadata: &Metadata) -> io::Result<()> {
    match lchown(path, Some(metadata.uid()), Some(metadata.gid())) {
        Err(error) if error.kind() != ErrorKind::PermissionDenied => Err(error),
        // After the owner, for a change of owner clears the set-user-id bit.
        _ => fs::set_permissions(path, metadata.permissions()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn copies_files_and_the_links_that_lead_there() {
        let dir = tempfile::tempdir().unwrap();
        let source = dir.path().join("source");
        fs::create_dir_all(source.join("real/sub")).unwrap();
        fs::write(source.join("real/sub/file"), "content").unwrap();
        fs::write(source.join("real/other"), "not named").unwrap();
        symlink("real/sub", source.join("link")).unwrap();
        symlink("../source/link/file", source.join("indirect")).unwrap();
        let root = dir.path().join("root");
        fs::create_dir(&root).unwrap();
        let replica = Replica::new(&root);
        replica.add(&source.join("indirect")).unwrap();
        let inside = |name: &str| replica.inside(&source.join(name));
        assert_eq!(fs::read_to_string(inside("link/file")).unwrap(), "content");
        assert_eq!(fs::read_to_string(inside("indirect")).unwrap(), "content");
        assert!(!inside("real/other").exists());
        replica.add(&source.join("real")).unwrap();
        assert_eq!(fs::read_to_string(inside("real/other")).unwrap(), "not named");
    }

    #[test]
    fn endless_links_end() {
        let dir = tempfile::tempdir().unwrap();
        let round = dir.path().join("round");
        symlink(&round, &round).unwrap();
        let root = dir.path().join("root");
        fs::create_dir(&root).unwrap();
        let error = Replica::new(&root).add(&round).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::ELOOP));
    }
}
