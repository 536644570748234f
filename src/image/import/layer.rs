//! A layer, laid over what is there (OCI image layer filesystem changeset specification): its entries
//! come in their places, and its whiteouts take away what earlier layers had.

use nix::sys::stat::SFlag;

use super::ImportError;
use super::error::shown;
use super::limits::Budget;
use super::path::{Absolute, components};
use super::root::{Added, Directory, Links, Root};
use super::tar::{Archive, Device, Entry, Input, Kind};

/// What the name of a file begins with that takes the rest of its name away.
const WHITEOUT: &[u8] = b".wh.";
/// The file that takes away all that its directory had.
const OPAQUE: &[u8] = b".wh..wh..opq";

/// Lays the layer over the root.
pub(super) fn apply<R: Input>(
    archive: &mut Archive<R>,
    root: &mut Root,
    budget: &mut Budget,
    absolute: Absolute,
) -> Result<(), ImportError> {
    let mut layer = Layer { root, absolute, added: Added::default(), hidden: Added::default() };
    while let Some(entry) = archive.next(budget)? {
        budget.take_size(entry.size)?;
        layer.entry(&entry, archive)?;
    }
    Ok(())
}

struct Layer<'a> {
    root: &'a mut Root,
    absolute: Absolute,
    added: Added,
    /// What whiteouts have been looked at: all that they hide is gone, and to walk what has been added
    /// again and again would take for ever.
    hidden: Added,
}

impl Layer<'_> {
    fn entry<R: Input>(
        &mut self,
        entry: &Entry,
        archive: &mut Archive<R>,
    ) -> Result<(), ImportError> {
        let names = components(&entry.path, self.absolute)?;
        let Some((name, parents)) = names.split_last() else {
            if entry.kind != Kind::Directory {
                return Err(refused(entry, "the root is a directory"));
            }
            return self.root.set_root_attributes(&entry.attributes);
        };
        if parents.iter().any(|name| name.starts_with(WHITEOUT)) {
            return Err(refused(entry, "a whiteout has nothing in it"));
        }
        if let Some(hidden) = name.strip_prefix(WHITEOUT) {
            return self.whiteout(entry, parents, name, hidden);
        }
        let parent = self.root.find_or_make(parents, &mut self.added)?;
        let kind = match &entry.kind {
            Kind::Directory => {
                self.root.make_directory(&parent, name)?;
                SFlag::S_IFDIR
            }
            Kind::File => {
                let file = self.root.make_file(&parent, name)?;
                archive.copy_data(&file, entry.size)?;
                SFlag::S_IFREG
            }
            Kind::Symlink(target) => {
                self.root.make_symlink(&parent, name, target)?;
                SFlag::S_IFLNK
            }
            Kind::HardLink(target) => {
                self.hard_link(entry, &parent, name, target)?;
                self.added.insert(&parent.child(name));
                return Ok(());
            }
            Kind::CharacterDevice(device) => {
                return self.special(entry, &parent, name, SFlag::S_IFCHR, *device);
            }
            Kind::BlockDevice(device) => {
                return self.special(entry, &parent, name, SFlag::S_IFBLK, *device);
            }
            Kind::Fifo => {
                let none = Device { major: 0, minor: 0 };
                return self.special(entry, &parent, name, SFlag::S_IFIFO, none);
            }
        };
        self.root.set_attributes(&parent, name, kind, &entry.attributes)?;
        self.added.insert(&parent.child(name));
        Ok(())
    }

    fn special(
        &mut self,
        entry: &Entry,
        parent: &Directory,
        name: &[u8],
        kind: SFlag,
        device: Device,
    ) -> Result<(), ImportError> {
        if self.root.make_special(parent, name, kind, device)? {
            self.root.set_attributes(parent, name, kind, &entry.attributes)?;
            self.added.insert(&parent.child(name));
        }
        Ok(())
    }

    /// What it links to is called by its own path, without symbolic links. Its attributes are those of
    /// what it links to.
    fn hard_link(
        &mut self,
        entry: &Entry,
        parent: &Directory,
        name: &[u8],
        target: &[u8],
    ) -> Result<(), ImportError> {
        let names = components(target, self.absolute)?;
        let (file, parents) =
            names.split_last().ok_or_else(|| refused(entry, "it is a hard link to the root"))?;
        let directory = self.root.find(parents, Links::Refused)?;
        let directory =
            directory.ok_or_else(|| refused(entry, "it is a hard link to what is not there"))?;
        self.root.make_link(parent, name, (&directory, file))
    }

    /// Takes away what earlier layers had; what this one has added stays, whichever comes first.
    fn whiteout(
        &mut self,
        entry: &Entry,
        parents: &[&[u8]],
        name: &[u8],
        hidden: &[u8],
    ) -> Result<(), ImportError> {
        if entry.kind != Kind::File {
            return Err(refused(entry, "a whiteout is a file"));
        }
        let is_opaque = name == OPAQUE;
        if !is_opaque && (matches!(hidden, b"" | b"." | b"..") || hidden.starts_with(WHITEOUT)) {
            return Err(refused(entry, "it is no whiteout that can be"));
        }
        // Builders write where a file is, not how else one gets there.
        let Some(parent) = self.root.find(parents, Links::Refused)? else { return Ok(()) };
        if !self.hidden.insert(&parent.child(name)) {
            return Ok(());
        }
        if is_opaque {
            self.root.hide_all(&parent, &self.added)
        } else {
            self.root.hide(&parent, hidden, &self.added)
        }
    }
}

fn refused(entry: &Entry, reason: &str) -> ImportError {
    ImportError::malformed(format!("entry {}", shown(&entry.path)), reason)
}
