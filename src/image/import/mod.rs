//! Importing: a source, recognised by its content, is unpacked into the store.
//!
//! ```text
//! directory ─────────────────────────────► directory ─┐
//! tarball (perhaps compressed) ─► source ─► tar ──────┼─► layer ─► root ─► store
//! OCI layout or archive, docker archive ─► oci, docker ─► blobs, blob ─┘
//! ```
//!
//! Sources are hostile: whatever one says, nothing is written outside the root that it is unpacked
//! to (`root`), and what it takes is bounded (`limits`). It becomes an image as a whole or not at all.

mod blob;
mod blobs;
mod directory;
mod docker;
mod error;
mod layer;
mod limits;
mod oci;
mod path;
mod root;
mod source;
mod tar;

use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use self::blob::{Layer, Unpacking};
use self::blobs::Blobs;
use self::error::shown;
use self::limits::Budget;
use self::path::Absolute;
use self::root::Root;
use self::source::Source;
use super::store::Staging;
use super::{ImageConfig, Name, Store, StoreError, StoredImage};
use crate::guest_images::Progress;
use crate::workload::Process;

pub use self::error::ImportError;
pub use self::limits::Limits;
pub use self::root::LeftOut;

/// What to import.
#[derive(Clone, Debug)]
pub struct Request {
    /// A directory or a file; `-` for standard input.
    pub source: PathBuf,
    /// What it shall go by; otherwise what it says itself, or what its file is called.
    pub name: Option<Name>,
    /// Which image, where there are several: its tag, or its manifest's digest.
    pub reference: Option<String>,
    /// Whether it takes the place of an image of the same name.
    pub replace: bool,
    /// Whether paths in archives may begin with `/`.
    pub absolute_names: bool,
    /// What it may take.
    pub limits: Limits,
}

/// What has been imported.
#[derive(Debug)]
pub struct Imported {
    /// The image.
    pub image: StoredImage,
    /// What could not be kept.
    pub left_out: LeftOut,
}

/// An image in a source.
struct Chosen {
    layers: Vec<Layer>,
    process: Process,
    digest: String,
    /// What the source calls it.
    reference: Option<String>,
}

impl Store {
    /// Imports an image.
    ///
    /// # Errors
    /// Whatever is wrong with it; then there is no image, and nothing is left of it.
    pub fn import(&self, request: &Request) -> Result<Imported, ImportError> {
        if let Some(name) = &request.name {
            self.check_free(name, request)?;
        }
        let staging = Staging::create(self)?;
        let progress = Progress::new("importing an image");
        let root = Root::open(&staging.root())?;
        let absolute = if request.absolute_names { Absolute::BelowRoot } else { Absolute::Refused };
        let mut unpacking = Unpacking { root, budget: Budget::new(request.limits), absolute };
        let mut import = Import { store: self, request, progress: &progress };
        let source = Source::open(&request.source, staging.scratch(), request.limits)?;
        let (name, form, digest, process) = match source {
            Source::Directory(path) => {
                let name = import.name(None)?;
                directory::copy(&path, self.path(), &mut unpacking)?;
                (name, "directory", None, Process::default())
            }
            Source::Tarball(tarball) => {
                let name = import.name(None)?;
                let digest = unpacking.stream("the archive", tarball, None, None)?;
                (name, "tarball", Some(digest), Process::default())
            }
            Source::Image(blobs) if oci::is_there(&blobs) => {
                let chosen = oci::choose(&blobs, request.reference.as_deref())?;
                import.image(&blobs, chosen, "OCI image", &mut unpacking)?
            }
            Source::Image(blobs) => {
                let chosen = docker::choose(&blobs, request.reference.as_deref())?;
                import.image(&blobs, chosen, "docker archive", &mut unpacking)?
            }
        };
        let size = unpacking.budget.size;
        let left_out = unpacking.root.finish()?;
        let created = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        let source = request.source.to_string_lossy().escape_debug().to_string();
        let form = form.to_owned();
        let config = ImageConfig { name, process, source, form, digest, size, created };
        let image = self.publish(staging, config, request.replace)?;
        Ok(Imported { image, left_out })
    }

    /// Sooner rather than after all has been unpacked.
    fn check_free(&self, name: &Name, request: &Request) -> Result<(), ImportError> {
        if !request.replace && self.find(name)?.is_some() {
            return Err(StoreError::Taken(name.clone()).into());
        }
        Ok(())
    }
}

type Found = (Name, &'static str, Option<String>, Process);

struct Import<'a> {
    store: &'a Store,
    request: &'a Request,
    progress: &'a Progress,
}

impl Import<'_> {
    fn image(
        &mut self,
        blobs: &Blobs,
        chosen: Chosen,
        form: &'static str,
        unpacking: &mut Unpacking,
    ) -> Result<Found, ImportError> {
        let name = self.name(chosen.reference.as_deref())?;
        for (number, layer) in (1..).zip(&chosen.layers) {
            self.progress.step(&format!("layer {number} of {}", chosen.layers.len()));
            unpacking.layer(blobs, layer)?;
        }
        Ok((name, form, Some(chosen.digest), chosen.process))
    }

    /// What it is to be called: as the caller says, as its own reference has it, or as its file is.
    fn name(&self, reference: Option<&str>) -> Result<Name, ImportError> {
        if let Some(name) = &self.request.name {
            return Ok(name.clone());
        }
        // A tag alone says nothing; where docker's own images are from need not be said.
        let whole = reference.filter(|text| text.contains([':', '/']));
        let whole = whole.map(|text| text.strip_prefix("docker.io/library/").unwrap_or(text));
        let name = whole.and_then(Name::from_any).or_else(|| {
            let file = of_file(&self.request.source)?;
            let tagged = reference.and_then(|tag| Name::from_any(&format!("{file}:{tag}")));
            tagged.or_else(|| Name::from_any(&file))
        });
        let name = name.ok_or_else(|| {
            ImportError::Unsuitable(
                "nothing says what the image is to be called: give a name behind the source".into(),
            )
        })?;
        self.store.check_free(&name, self.request)?;
        Ok(name)
    }
}

/// The name of a file or directory, without what says how it is packed.
fn of_file(source: &Path) -> Option<String> {
    let path = source.canonicalize().ok()?;
    let mut name = path.file_name()?.to_string_lossy().into_owned();
    for ending in [".gz", ".xz", ".zst", ".lz4", ".tgz", ".tar", ".oci"] {
        name.truncate(name.strip_suffix(ending).unwrap_or(&name).len());
    }
    Some(name)
}
